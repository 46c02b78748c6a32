"""Networks that kill their process in the middle of a cine, as the kernel does when memory is short."""

import json
import os
import signal

from monai_agglo.networks import CineSegmenter


class KilledOnce(CineSegmenter):
    """Kills on its second call where the file named by ``AGGLO_TEST_KILL`` does not exist yet."""

    calls = 0

    def coarse(self, image):
        self.calls += 1
        if self.calls == 2:
            try:
                os.close(os.open(os.environ["AGGLO_TEST_KILL"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().coarse(image)


class KilledByWideFrames(CineSegmenter):
    """Kills whenever frames are more than twice as wide as high."""

    def coarse(self, image):
        if image.shape[3] > 2 * image.shape[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().coarse(image)


def with_network(bundle, name):
    """Give a bundle another network of the same weights, of this module."""
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"]["_target_"] = f"killing_network.{name}"
    path.write_text(json.dumps(config))
    return bundle
