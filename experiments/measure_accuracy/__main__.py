"""Write docs/results/measurements.json: errors of the measures on phantoms, from true and from predicted masks.

Usage: python -m experiments.measure_accuracy [--patients 10] [--predicted 2] [--output FILE]
"""

import argparse
import json

from experiments.measure_accuracy.run import measure_accuracy

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--patients", type=int, default=10, help="patients with true masks (default: 10)")
parser.add_argument("--predicted", type=int, default=0, help="patients segmented by the bundle (default: none)")
parser.add_argument("--bundle", help="bundle folder (default: vfss_seg)")
parser.add_argument("--size", type=int, default=512, help="rows and columns (default: 512)")
parser.add_argument("--first-seed", type=int, default=9000, help="seed of the first patient (default: 9000)")
parser.add_argument("--output", default="docs/results/measurements.json", help="the file to write")

if __name__ == "__main__":
    args = parser.parse_args()
    options = {"size": args.size, "first_seed": args.first_seed, "progress": True}
    content = measure_accuracy(args.output, args.patients, args.predicted, args.bundle, **options)
    print(json.dumps(content, indent=1))
