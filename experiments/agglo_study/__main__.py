#!/usr/bin/env python3
"""The study: does agglomeration help, which balancing, and by how much. Resumable; run it again to go on.

    python -m experiments.agglo_study [--output FOLDER] [--until STAGE] [--report-only] ...

Real images are looked for in AGGLO_SHARED (or ../shared), teachers' weights in AGGLO_WEIGHTS. Start the same command
several times to share the work between processes, on one computer or on several that share the folder.
"""

from experiments.agglo_study.command import main

if __name__ == "__main__":
    main()
