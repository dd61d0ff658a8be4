import warnings

import datasets
import imagehash
import numpy as np
import PIL.Image
import pytest
from related.rows import encoded, image_rows
from sklearn.datasets import load_sample_images

from mixunlearn_hf.errors import DataError
from mixunlearn_hf.related.find import find_related
from mixunlearn_hf.related.pictures import small_grey

Images = list[PIL.Image.Image]


def moved(image: PIL.Image.Image, x: int, y: int) -> PIL.Image.Image:
    out = PIL.Image.new(image.mode, image.size)
    out.paste(image, (x, y))
    return out


COPIES = {
    "png_again": lambda image: encoded(image, format="PNG", compress_level=1),
    "jpeg": lambda image: encoded(image, format="JPEG", quality=75),
    "right": lambda image: encoded(moved(image, 1, 0)),
    "up_left": lambda image: encoded(moved(image, -1, -1)),
    "twice_as_large": lambda image: encoded(image.resize((64, 64), PIL.Image.Resampling.BICUBIC)),
    "colour": lambda image: encoded(image.convert("RGB")),
    "palette": lambda image: encoded(image.convert("P")),
    "opaque": lambda image: encoded(image.convert("RGBA")),
    "sixteen_bits": lambda image: encoded(PIL.Image.fromarray(np.asarray(image).astype(np.uint16) * 200)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_near_its_row_and_other_digits_are_not(digits: Images, kind: str) -> None:
    retain = [*digits[40:], *(COPIES[kind](image) for image in digits[:40:4])]
    related = find_related({"forget": image_rows(digits[:40]), "retain": image_rows(retain)}, progress=False)
    matches = related.matches("retain", "near")
    assert related.counts() == {"retain": {"exact": 0, "near": 10}}
    np.testing.assert_array_equal(matches.positions, np.arange(80, 90))
    np.testing.assert_array_equal(matches.forget_positions, np.arange(0, 40, 4))
    np.testing.assert_array_equal(matches.forget_rows, np.arange(0, 40, 4))


def test_the_same_bytes_are_exact_under_another_file_name_and_count_once(digits: Images) -> None:
    splits = {"forget": image_rows(digits[:20]), "retain": image_rows(digits[10:40])}
    renamed = [{"bytes": encoded(image), "path": f"{number}.png"} for number, image in enumerate(digits[10:40])]
    features = datasets.Features({"image": datasets.Image()})
    splits["retain"] = datasets.Dataset.from_dict({"image": renamed}, features=features)
    related = find_related(splits, progress=False)
    assert related.counts() == {"retain": {"exact": 10, "near": 0}}
    np.testing.assert_array_equal(related.matches("retain", "exact").forget_positions, np.arange(10, 20))


@pytest.mark.parametrize("correlation", [None, 0.9])
def test_near_agrees_with_comparing_every_pair_by_imagehash(digits: Images, correlation: float | None) -> None:
    forget, retain, threshold = digits[:30], [moved(image, 0, 1) for image in digits[20:60]], 56
    related = find_related(
        {"forget": image_rows(forget), "retain": image_rows(retain)},
        methods="near",
        image_threshold=threshold,
        image_correlation=correlation,
        progress=False,
    )

    def inner(image: PIL.Image.Image, x: int = 0, y: int = 0) -> PIL.Image.Image:
        return small_grey(image).crop((1 + x, 1 + y, 31 + x, 31 + y))

    def hashed(image: PIL.Image.Image) -> imagehash.ImageHash:
        return imagehash.phash(image, hash_size=16, highfreq_factor=2)

    def distance(one: PIL.Image.Image, own: imagehash.ImageHash, windows: list, hashes: list) -> float:
        """Bits that differ in the best of nine windows, if these are near."""
        bits = [own - other for other in hashes]
        pixels = [np.asarray(picture, dtype=float).ravel() for picture in (one, windows[int(np.argmin(bits))])]
        alike = correlation is not None and np.corrcoef(*pixels)[0, 1] >= correlation
        return min(bits) if min(bits) <= (64 if alike else threshold) else np.inf

    known = [[inner(image, x, y) for x in (0, -1, 1) for y in (0, -1, 1)] for image in forget]
    hashes = [[hashed(window) for window in windows] for windows in known]
    distances = np.asarray(
        [[distance(one, hashed(one), *pair) for pair in zip(known, hashes, strict=True)] for one in map(inner, retain)]
    )
    positions = np.flatnonzero(np.isfinite(distances).any(axis=1))
    matches = related.matches("retain", "near")
    assert 10 < len(positions) < 40  # the thresholds divide the rows
    np.testing.assert_array_equal(matches.positions, positions)
    np.testing.assert_array_equal(matches.distances, distances[positions].min(axis=1))
    np.testing.assert_array_equal(matches.forget_positions, distances[positions].argmin(axis=1))
    np.testing.assert_array_equal(matches.forget_rows, np.flatnonzero(np.isfinite(distances).any(axis=0)))


def test_blank_and_missing_images_are_left_out_and_counted(digits: Images) -> None:
    white, black = PIL.Image.new("L", (32, 32), 255), PIL.Image.new("L", (20, 50), 0)
    forget = image_rows([digits[0], white, None])
    retain = image_rows([black, None, *digits[1:9], encoded(digits[0], format="JPEG")])
    related = find_related({"forget": forget, "retain": retain}, progress=False)
    assert related.counts() == {"retain": {"exact": 0, "near": 1}}
    assert related.positions("retain").tolist() == [10]
    assert related.forget_left_out == {"exact": 1, "near": 2}
    assert related.matches("retain", "near").left_out == 2


def test_a_blank_image_of_the_same_bytes_is_exact(digits: Images) -> None:
    white = PIL.Image.new("L", (32, 32), 255)
    related = find_related({"forget": image_rows([white]), "retain": image_rows([digits[0], white])}, progress=False)
    assert related.positions("retain", "exact").tolist() == [1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 500), (64, 64)])
def test_every_mode_and_size_becomes_a_small_grey_picture(mode: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=size[::-1]).astype(np.uint8)
    image = PIL.Image.fromarray(pixels)
    image = PIL.Image.fromarray(pixels.astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = small_grey(image)
    assert (small.mode, small.size) == ("L", (32, 32))


def test_transparent_pixels_are_white_whatever_lies_under_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(32, 32, 4)).astype(np.uint8)
    pixels[:, :16, 3], pixels[:, 16:, 3] = 0, 255
    first = np.asarray(small_grey(PIL.Image.fromarray(pixels)))
    pixels[:, :16, :3] = 7
    np.testing.assert_array_equal(first, np.asarray(small_grey(PIL.Image.fromarray(pixels))))
    assert (first[:, :14] > 250).all()


@pytest.mark.parametrize("split", ["forget", "retain"])
def test_a_broken_image_is_named_by_split_and_position_and_not_by_content(digits: Images, split: str) -> None:
    cut = encoded(digits[3])[:-90]
    splits = {"forget": image_rows(digits[:4]), "retain": image_rows(digits[4:9])}
    for broken in (b"CANARY is no image", cut):
        rows = image_rows([*digits[10:12], broken])
        with pytest.raises(DataError, match=rf"row 2 of the split '{split}'") as caught:
            find_related({**splits, split: rows}, progress=False)
        assert "CANARY" not in str(caught.value) and caught.value.__cause__ is None


def test_arrays_of_one_or_three_channels_are_pictures(digits: Images) -> None:
    arrays = [np.asarray(image, dtype=np.float32)[None] / 127.5 - 1 for image in digits[:30]]
    shifted = [np.roll(array, 1, axis=2) * 0.5 + 3 for array in arrays[:5]]  # of another range of values, too
    for shape in ("CHW", "HWC", "three channels"):
        both = [
            {"CHW": array, "HWC": array.transpose(1, 2, 0), "three channels": np.repeat(array, 3, axis=0)}[shape]
            for array in [*arrays, *shifted]
        ]
        splits = {
            "forget": datasets.Dataset.from_dict({"pixel_values": both[:15], "labels": [0] * 15}),
            "retain": datasets.Dataset.from_dict({"pixel_values": both[15:], "labels": [1] * 20}),
        }
        related = find_related(splits, progress=False)
        assert related.counts() == {"retain": {"exact": 0, "near": 5}}
        assert related.matches("retain", "near").forget_positions.tolist() == [0, 1, 2, 3, 4]


def test_arrays_that_are_no_pictures_are_only_searched_exactly_and_it_is_said() -> None:
    rows = datasets.Dataset.from_dict({"pixel_values": np.random.default_rng(0).normal(size=(6, 8, 4, 4)).tolist()})
    related = find_related({"forget": rows, "retain": rows.select([5, 2])}, progress=False)
    assert related.counts() == {"retain": {"exact": 2}}
    assert "(8, 4, 4)" in related.not_searched["near"] and "near was not searched" in str(related)


def test_an_array_that_holds_no_numbers_is_named_by_position(digits: Images) -> None:
    arrays = [np.asarray(image, dtype=np.float32)[None] for image in digits[:4]]
    rows = datasets.Dataset.from_dict({"pixel_values": arrays})
    broken = datasets.Dataset.from_dict({"pixel_values": [arrays[0] + 1, arrays[1] * np.nan]})
    with pytest.raises(DataError, match="row 1 of the split 'test'"):
        find_related({"forget": rows, "test": broken}, progress=False)


def test_of_several_image_columns_one_must_be_named_for_near(digits: Images) -> None:
    rows = image_rows(digits[:5])
    rows = datasets.concatenate_datasets([rows, rows.select_columns("image").rename_column("image", "mask")], axis=1)
    related = find_related({"forget": rows, "retain": rows.select([3])}, progress=False)
    assert related.counts() == {"retain": {"exact": 1}} and "['image', 'mask']" in related.not_searched["near"]
    related = find_related({"forget": rows, "retain": rows.select([3])}, columns="image", progress=False)
    assert related.counts() == {"retain": {"exact": 1, "near": 0}}


def test_a_stored_data_set_of_files_is_read(digits: Images, tmp_path: object) -> None:
    paths = []
    for number, image in enumerate(digits[:12]):
        paths.append(f"{tmp_path}/{number}.png")
        image.save(paths[-1])
    files = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    retain = image_rows([encoded(image, format="JPEG", quality=90) for image in digits[:3]]).select_columns(["image"])
    related = find_related({"forget": files, "retain": retain}, progress=False)
    assert related.counts() == {"retain": {"exact": 0, "near": 3}}


def test_reading_does_not_depend_on_the_format_of_the_data_set(digits: Images) -> None:
    def never(batch: dict) -> dict:
        raise AssertionError("the transform was run")

    splits = {"forget": image_rows(digits[:10]), "retain": image_rows(digits[8:20])}
    formatted = {"forget": splits["forget"].with_transform(never), "retain": splits["retain"].with_format("torch")}
    assert find_related(formatted, progress=False).counts() == find_related(splits, progress=False).counts()


def test_a_photograph_and_its_thumbnail_are_near() -> None:
    photographs = [PIL.Image.fromarray(pixels) for pixels in load_sample_images().images]  # 640 x 427 pixels
    thumbnails = [encoded(image.resize((160, 107)), format="JPEG", quality=60) for image in photographs]
    cropped = photographs[0].crop((5, 5, 635, 422))
    splits = {"forget": image_rows(photographs), "retain": image_rows([*thumbnails, cropped])}
    assert find_related(splits, progress=False).matches("retain", "near").forget_positions.tolist() == [0, 1, 0]


def test_many_look_alikes_do_not_all_have_to_be_compared_at_once(
    digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {
        "forget": image_rows(digits[:40]),
        "retain": image_rows([encoded(image, format="JPEG", quality=60) for image in digits[20:60]]),
    }
    whole = find_related(splits, progress=False)
    monkeypatch.setattr("mixunlearn_hf.related.near_images.PAIRS", 3)
    monkeypatch.setattr("mixunlearn_hf.related.near_images.BLOCK", 30)
    monkeypatch.setattr("mixunlearn_hf.related.near_images.SimilarImages.batch_size", 7)
    pieces = find_related(splits, progress=False)
    assert whole.positions("retain").tolist() == list(range(20))
    for name in ("positions", "forget_positions", "distances", "forget_rows"):
        first, second = (getattr(found.matches("retain", "near"), name) for found in (whole, pieces))
        np.testing.assert_array_equal(first, second)
