"""A teacher of a few hundred parameters, for tests of what all teachers share."""

from torch import nn

from monai_agglo.networks.teachers import Layout, Teacher, TeacherSpec, WeightFile


class SmallTeacher(Teacher):
    spec = TeacherSpec(
        name="small",
        title="Small",
        architecture="two convolutions",
        parameters=8 * 3 * 16 * 16 + 8 + 4 * 8 + 4,
        input_size=64,
        channels=4,
        grid=4,
        geometry="letterbox",
        resample="pil_bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        licence="Apache-2.0",
        commercial="Yes.",
        folder="small",
        files=(
            WeightFile("small.pt", "https://weights.test/small.pt"),
            WeightFile("other.pt", "https://weights.test/o"),
        ),
        citation="none",
    )
    layouts = (
        Layout("plain", r"a\.", ((r"a\.(\w+)", r"0.\1"), (r"b\.(\w+)", r"1.\1"), (r"head\..+", None))),
        Layout("other", r"first\.", ((r"first\.(\w+)", r"0.\1"), (r"second\.(\w+)", r"1.\1"))),
    )

    def build_encoder(self):
        return nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Conv2d(8, 4, 1))


def published(teacher):
    """The teacher's tensors by their names in the plain layout, with a head that is left out."""
    state = {("a." if key[0] == "0" else "b.") + key[2:]: value for key, value in teacher.encoder.state_dict().items()}
    return {**state, "head.weight": state["a.bias"]}
