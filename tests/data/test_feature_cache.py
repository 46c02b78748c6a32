"""The feature cache gives what the teachers gave, with its statistics, and refuses what it cannot vouch for."""

import json
import pickle

import pytest
import torch
from cache_teachers import Coarse, Wide, make_frames
from torch.nn import functional as F

from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.data.feature_cache.build import build_feature_cache as build
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.dataset import FeatureCacheDataset
from monai_agglo.data.feature_cache.frames import frame_hash
from monai_agglo.data.feature_cache.view import COMPACT, NATIVE, FeatureCodec, FeatureView, Moments
from monai_agglo.networks.teachers import teacher_class

FRAMES = make_frames(10)
VIEW = FeatureView(grid=20, channels=16)


@pytest.fixture(scope="module")
def teachers():
    return [Wide(random_weights=True), Coarse(random_weights=True)]


@pytest.fixture(scope="module")
def built(teachers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "cache"
    build(FRAMES, teachers, folder, view=VIEW, frames_per_block=4, progress=False)
    return folder


@pytest.fixture
def own(teachers, tmp_path):
    """A small cache to be damaged."""
    folder = tmp_path / "cache"
    build(FRAMES[:4], teachers[1:], folder, frames_per_block=2, progress=False)
    return folder


def cells(cache, name, frames=FRAMES):
    """(cells, k) of all frames, where at least half a cell shows the frame."""
    found = []
    for frame in frames:
        key = frame_hash(frame)
        found.append(cache[key, name].flatten(1)[:, cache.geometry(key, name)[1].flatten() >= 0.5].T)
    return torch.cat(found).double()


@pytest.mark.parametrize("precision", ["int8", "fp16"])
@pytest.mark.parametrize("view", [NATIVE, FeatureView(grid=10, channels=None), VIEW])
def test_entries_are_what_the_teacher_gives(teachers, tmp_path, precision, view):
    frames = FRAMES[:3]
    cache = build(frames, teachers, tmp_path / "c", precision=precision, view=view, progress=False)
    for teacher in teachers:
        name = teacher.spec.name
        assert cache.shape(name) == view.shape(teacher.spec)
        for frame in frames:
            stored, live = cache[frame_hash(frame), name], teacher(frame[None])
            assert stored.shape == cache.shape(name) and stored.dtype == torch.float32
            back = cache.expand(name, stored)
            if view.components(teacher.spec) is None:
                pooled = F.adaptive_avg_pool2d(live.features, stored.shape[1:])[0]
                assert F.cosine_similarity(back, pooled, dim=0).min() > (0.9995 if precision == "int8" else 0.999999)
            affine, mask = cache.geometry(frame_hash(frame), name)
            if stored.shape[1] == teacher.spec.grid:
                assert torch.equal(affine, live.affine) and torch.equal(mask, live.mask[0, 0])
            else:  # a cell of the coarser grid lies in the middle of those it was made of
                finer = live.affine @ torch.tensor([0.5, 0.5, 1.0])
                assert torch.allclose(affine @ torch.tensor([0.0, 0.0, 1.0]), finer)


def test_principal_components_keep_what_they_say(built, teachers):
    cache = FeatureCache.open(built)
    facts, shape = cache.describe("wide"), cache.shape("wide")
    assert shape == (16, 20, 20) and facts["components"] == 16 and cache.describe("coarse")["components"] is None
    origin = cache._codecs["wide"].origin[:, None, None]
    kept, energy = 0.0, 0.0
    for frame in FRAMES:
        live, inside = teachers[0](frame[None]), cache.geometry(frame_hash(frame), "wide")[1] >= 0.5
        back = cache.expand("wide", cache[frame_hash(frame), "wide"])
        energy += float((live.features[0] - origin)[:, inside].square().sum())
        kept += float((back - origin)[:, inside].square().sum())
    assert 0.5 < facts["retained_variance"] < 1
    assert facts["retained_variance"] == pytest.approx(kept / energy, abs=1e-3)


def test_statistics_are_those_of_the_entries(built):
    cache = FeatureCache.open(built)
    for name in cache.teachers:
        found, values = cache.statistics(name), cells(cache, name)
        assert found.count == len(values)
        assert torch.allclose(found.mean, values.mean(0), atol=1e-4)
        assert torch.allclose(found.covariance, torch.cov(values.T), rtol=1e-3, atol=1e-3)
    assert len(cells(cache, "wide")) < len(FRAMES) * 400  # the letterbox's padding does not count


def test_compact_view_of_the_main_teachers_fits_a_megabyte():
    specs = [teacher_class(name).spec for name in ("medsam", "medsam2", "rad_dino", "medclip")]
    assert [COMPACT.shape(spec) for spec in specs] == [(256, 32, 32), (256, 32, 32), (256, 37, 37), (768, 7, 7)]
    assert sum(COMPACT.bytes(spec, "int8") for spec in specs) < 1_000_000 < sum(NATIVE.bytes(s, "int8") for s in specs)


@pytest.mark.parametrize("channels", [64, 576, 37])
def test_int8_is_not_spoilt_by_loud_channels(channels):
    generator = torch.Generator().manual_seed(0)
    loud = torch.ones(channels)
    loud[:2] = 100.0
    maps = torch.randn(8, channels, 10, 10, generator=generator) * loud[:, None, None] + 500
    mask = torch.ones(10, 10)
    codec = FeatureCodec.fit(((m, mask) for m in maps[:4]), None, "int8")
    back = codec.unpack(*codec.pack(maps[4:]))
    centre = codec.centre[:, None, None]  # without the offset, which would flatter the cosine
    assert F.cosine_similarity(back - centre, maps[4:] - centre, dim=1).min() > 0.999


@pytest.mark.parametrize("size", [1e-9, 1e9])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_any_scale_of_features(size, precision):
    maps = torch.randn(4, 16, 10, 10, generator=torch.Generator().manual_seed(0)) * size
    codec = FeatureCodec.fit(((m, torch.ones(10, 10)) for m in maps[:2]), None, precision)
    assert F.cosine_similarity(codec.unpack(*codec.pack(maps)), maps, dim=1, eps=1e-30).min() > 0.999


def test_features_that_are_zero(tmp_path):
    """Nothing to store is no error, and no NaN."""
    teacher = Coarse(random_weights=True)
    teacher.encoder.forward = lambda pixels: torch.zeros(len(pixels), 12, 4, 4)
    cache = build(FRAMES[:2], [teacher], tmp_path / "c", progress=False)
    assert torch.equal(cache[frame_hash(FRAMES[0]), "coarse"], torch.zeros(12, 4, 4))


def test_moments_merge():
    generator = torch.Generator().manual_seed(0)
    maps, mask = torch.randn(5, 3, 4, 4, generator=generator) * 3 + 7, torch.ones(4, 4)
    whole, left, right = Moments(), Moments(), Moments()
    for number, one in enumerate(maps):
        whole.add(one, mask)
        (left if number < 2 else right).add(one, mask)
    right.add(maps[0], torch.zeros(4, 4))  # nothing of the frame
    left.merge(right)
    values = maps.transpose(0, 1).flatten(1)
    for found in (whole, left):
        assert found.count == 80 and torch.allclose(found.covariance(), torch.cov(values).double(), atol=1e-4)


def test_too_few_cells_for_so_many_components(teachers, tmp_path):
    frame = torch.rand(1, 16, 400)  # a letterboxed strip: few cells show it
    with pytest.raises(FeatureCacheError, match="too few to find 16 principal components"):
        build([frame], teachers[:1], tmp_path / "c", view=VIEW, progress=False)


def test_each_content_once_and_more_frames_or_teachers_later(teachers, tmp_path, monkeypatch):
    calls, path = tmp_path / "calls", tmp_path / "c"
    monkeypatch.setenv("AGGLO_TEST_CALLS", str(calls))
    options = {"verify": 0, "progress": False, "frames_per_block": 4, "calibration_frames": 2}
    build([*FRAMES[:3], FRAMES[0].clone()], teachers[1:], path, **options)
    assert len(calls.read_text().split()) == 3, "the calibration's maps are not made again"
    calls.unlink()
    first = {file.name: file.read_bytes() for file in path.glob("coarse-*/blocks/*")}
    cache = build(FRAMES, teachers[1:], path, **options)
    assert len(calls.read_text().split()) == len(FRAMES) - 3 and len(cache) == len(FRAMES)
    assert first.items() <= {file.name: file.read_bytes() for file in path.glob("coarse-*/blocks/*")}.items()
    values = cells(cache, "coarse")
    assert torch.allclose(cache.statistics("coarse").covariance, torch.cov(values.T), rtol=1e-3, atol=1e-3)
    cache = build(FRAMES, teachers, path, **options)
    assert set(FeatureCache.open(path).teachers) == {"coarse", "wide"} and len(cache) == len(FRAMES)


def test_other_weights_are_never_mixed_in(own):
    other = Coarse(random_weights=True)
    other.encoder.weight += 0.1
    with pytest.raises(FeatureCacheError, match="coarse with other weights"):
        FeatureCache.open(own, [other])
    before = {path: path.read_bytes() for path in own.glob("coarse-*/blocks/*")}
    cache = build(FRAMES[:4], [other], own, progress=False)
    assert len(list(own.glob("coarse-*"))) == 2
    assert all(path.read_bytes() == content for path, content in before.items())
    pooled = other(FRAMES[0][None]).features[0]
    assert F.cosine_similarity(cache[frame_hash(FRAMES[0]), "coarse"], pooled, dim=0).min() > 0.999


def test_other_preprocessing_is_never_mixed_in(own, monkeypatch):
    monkeypatch.setattr("monai_agglo.networks.teachers.spec.PREPROCESSING_VERSION", 99)
    with pytest.raises(FeatureCacheError, match="coarse with other preprocessing"):
        FeatureCache.open(own, [Coarse(random_weights=True)])


def test_opening_checks_against_the_live_teacher(own, teachers):
    found = FeatureCache.open(own, teachers[1:], verify=4, frames=FRAMES).verify(FRAMES, teachers[1:], 3)
    assert 0.999 < found["coarse"] <= 1
    store = next(own.glob("coarse-*"))
    codec = (store / "codec.safetensors").read_bytes()
    place = codec.rindex(b"}") + 20  # within the only tensor, the centre
    (store / "codec.safetensors").write_bytes(codec[:place] + b"\x00\x00\x7f\x43" * 4 + codec[place + 16 :])
    with pytest.raises(FeatureCacheError, match="differ from the live teacher"):
        FeatureCache.open(own, teachers[1:], verify=4, frames=FRAMES)
    with pytest.raises(FeatureCacheError, match="none of the frames given"):
        FeatureCache.open(own, teachers[1:], frames=make_frames(1, 32, 32))


def test_damaged_record_is_found(own, teachers):
    block = sorted(own.glob("coarse-*/blocks/*"))[0]
    content = bytearray(block.read_bytes())
    content[-3] ^= 64  # in the last record of the block
    block.write_bytes(content)
    cache = FeatureCache.open(own)
    damaged = list(cache.check())
    assert len(damaged) == 1 and str(block) in damaged[0] and "run the same build again" in damaged[0]
    with pytest.raises(FeatureCacheError, match="are damaged"):
        cache.verify(FRAMES[:4], teachers[1:], 4)
    block.unlink()
    cache = build(FRAMES[:4], teachers[1:], own, frames_per_block=2, progress=False)
    assert not list(cache.check()) and cache.statistics("coarse").count == 4 * 16


@pytest.mark.parametrize("name", ["blocks/000001.safetensors", "header.safetensors", "codec.safetensors"])
def test_cut_off_files(own, name):
    path = next(own.glob("coarse-*")) / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FeatureCacheError, match="cut off or damaged") as error:
        FeatureCache.open(own)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["blocks/000000.safetensors", "frames.json", "teacher.json", "codec.safetensors"])
def test_missing_files(own, name):
    (next(own.glob("coarse-*")) / name).unlink()
    with pytest.raises(FeatureCacheError, match="is missing|no features of"):
        FeatureCache.open(own)


@pytest.mark.parametrize("name", ["cache.json", "teacher.json"])
def test_other_version(own, teachers, name):
    path = own / name if name == "cache.json" else next(own.glob("coarse-*")) / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 7}))
    for attempt in (lambda: FeatureCache.open(own), lambda: build(FRAMES[:4], teachers[1:], own, progress=False)):
        with pytest.raises(FeatureCacheError, match="written by another version of the cache"):
            attempt()


def test_missing_header_is_made_again(own, teachers):
    before = FeatureCache.open(own).statistics("coarse")
    next(own.glob("coarse-*/header.safetensors")).unlink()
    with pytest.raises(FeatureCacheError, match="no features of coarse yet: run the same build again"):
        FeatureCache.open(own)
    after = build(FRAMES[:4], teachers[1:], own, progress=False).statistics("coarse")
    assert after.count == before.count and torch.allclose(after.covariance, before.covariance)


def test_no_cache(tmp_path, built):
    with pytest.raises(FeatureCacheError, match="there is no feature cache"):
        FeatureCache.open(tmp_path / "nowhere")
    with pytest.raises(FeatureCacheError, match="no feature cache, or it was never finished"):
        FeatureCache.open(tmp_path)
    with pytest.raises(FeatureCacheError, match=r"has no features of medsam \(it has coarse, wide\)"):
        FeatureCache.open(built, ["medsam"])
    with pytest.raises(KeyError, match="no features of wide for frame 00"):
        FeatureCache.open(built)["00", "wide"]


BAD = {
    "one colour": (torch.full((1, 40, 64), 0.5), "one colour"),
    "nan": (torch.full((1, 40, 64), float("nan")), "NaN"),
    "16 bit": (torch.zeros(1, 40, 64, dtype=torch.int16), "scale them to floating point"),
    "1x1": (torch.rand(1, 1, 1), "too small"),
    "10000 wide": (torch.rand(1, 16, 10_000), "too large"),
    "colour": (torch.rand(3, 40, 64), r"must be a \(1, H, W\) tensor"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_frames(case, teachers, tmp_path):
    frame, reason = BAD[case]
    frames = [*FRAMES[:2], frame]
    with pytest.raises(FeatureCacheError, match=f"frame 2 .*{reason}"):
        build(frames, teachers[1:], tmp_path / "c", progress=False)
    assert not list((tmp_path / "c").glob("*/blocks/*"))
    if case in ("16 bit", "colour"):  # the source is wrong, not one frame of it
        with pytest.raises(FeatureCacheError, match=reason):
            build(frames, teachers[1:], tmp_path / "c", on_bad="skip", progress=False)
    else:
        assert len(build(frames, teachers[1:], tmp_path / "c", on_bad="skip", progress=False)) == 2


def test_hash_is_of_the_content():
    frame = (FRAMES[0] * 255).round() / 255
    assert frame_hash(frame) == frame_hash(frame[0]) == frame_hash(frame.double()) == frame_hash(frame + 1e-7)
    others = (frame + 1e-3, frame.flip(-1), frame.reshape(1, 64, 40))
    assert len({frame_hash(x) for x in (frame, *others)}) == 4


def test_index_is_kept_for_a_source_with_a_fingerprint(teachers, tmp_path):
    class Source(list):
        fingerprint = "these four"
        reads = 0

        def __getitem__(self, index):
            Source.reads += 1
            return super().__getitem__(index)

    cache = build(Source(FRAMES[:4]), teachers[1:], tmp_path / "c", verify=0, progress=False)
    before = Source.reads
    assert [key.hash for key in cache.index(Source(FRAMES[:4]))] == [frame_hash(frame) for frame in FRAMES[:4]]
    assert Source.reads == before


def test_dataset(built, teachers):
    frames = [{"image": frame[0].numpy()} for frame in (*FRAMES[:3], torch.rand(1, 40, 64))]
    dataset = FeatureCacheDataset(frames, built, teachers)
    assert len(dataset) == 3  # the fourth frame is in no cache
    again = pickle.loads(pickle.dumps(FeatureCacheDataset(frames, built, ["wide"], packed=True)))
    for index, sample in enumerate(dataset):
        assert torch.equal(sample["image"], FRAMES[index]) and sample["frame"] == frame_hash(FRAMES[index])
        assert {n: tuple(f.shape) for n, f in sample["features"].items()} == {
            "wide": (16, 20, 20),
            "coarse": (12, 4, 4),
        }
        assert sample["mask"]["wide"].shape == (20, 20)
        codes = {name: value[None] for name, value in again[index]["features"]["wide"].items()}
        assert codes["codes"].dtype == torch.int8
        assert torch.equal(again.cache.decode("wide", **codes)[0], sample["features"]["wide"])
    with pytest.raises(FeatureCacheError, match="none of the frames"):
        FeatureCacheDataset(make_frames(2, 32, 32), FeatureCache.open(built))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precision": "int4"}, "precision must be one of int8, fp16"),
        ({"teachers": []}, "at least one frame and one teacher"),
        ({"teachers": [Coarse, Coarse]}, "a teacher is given twice"),
        ({"on_bad": "ignore"}, "on_bad must be error or skip"),
    ],
)
def test_wrong_use(options, reason, tmp_path):
    given = [make(random_weights=True) for make in options.pop("teachers", [Coarse])]
    with pytest.raises(FeatureCacheError, match=reason):
        build(FRAMES[:1], given, tmp_path / "c", progress=False, **options)
    with pytest.raises(FeatureCacheError, match="grid of a view must be a whole number"):
        FeatureView(grid=0)
