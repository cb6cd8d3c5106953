"""Reading folders of images: which classes and files there are, and their pixels."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from pipeline.archives import unpacked
from pipeline.errors import UserError

PARTS = frozenset({"train", "val", "test"})
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
SUFFIXES |= {".jfif", ".jpe", ".jp2", ".avif"}
GREY_MODES = frozenset({"1", "L", "LA"})
COLOUR_MODES = frozenset({"P", "RGB", "RGBA", "CMYK", "YCbCr"})
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
# Decoding leaves the interpreter lock, but for files of a few KiB taking it back costs more than it gains.
WORTH_A_THREAD = 16 * 1024
_LOG = logging.getLogger(__name__)


@contextmanager
def tree_at(path: Path) -> Iterator[Path]:
    """The tree in the folder `path`, or in a tar file, there perhaps below one folder that holds all.

    Raises UserError like `unpacked`; errors about what is inside a tar file name it, as a temporary folder is
    gone when they are read.
    """
    with unpacked(path) as root:
        if root == path:
            yield root
            return
        try:
            yield _below_wrapping(root)
        except UserError as error:
            raise UserError(str(error).replace(str(root), str(path))) from error


def _below_wrapping(root: Path) -> Path:
    """The folder that `tar -czf x.tgz folder` puts around a tree; `root` where there is none."""
    inside = [path for path in root.iterdir() if not path.name.startswith(".")]
    wrapped = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in PARTS
    return inside[0] if wrapped and subfolders(inside[0]) else root


def subfolders(folder: Path) -> list[Path]:
    """The folders inside `folder`, by name, hidden ones left out. Raises UserError if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); set data.folder to the images"
        ) from error


def class_files(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Image files by class name, over the class folders inside all `folders`; files by name.

    The classes come in the order of their names. Folders inside a class, and what is no image, are left out
    with a warning each. Raises UserError for a class without images, or with a name that no file of text can
    hold.
    """
    files: dict[str, list[Path]] = {}
    others: list[Path] = []
    deeper: list[Path] = []
    for folder in folders:
        for path in subfolders(folder):
            _require_text(path)
            inside = [file for file in path.iterdir() if not file.name.startswith(".")]
            images = [file for file in inside if _is_image(file)]
            files.setdefault(path.name, []).extend(images)
            rest = set(inside) - set(images)
            deeper += [path for path in rest if path.is_dir()]
            others += [path for path in rest if not path.is_dir()]
    if deeper:
        _LOG.warning("%d folders inside classes are not read, such as %s", len(deeper), min(deeper))
    if others:
        _LOG.warning("%d files that are no images are left out, such as %s", len(others), min(others))
    for name, paths in files.items():
        if not paths:
            raise UserError(
                f"class {name} in {folders[0]} holds no image; add its images or remove the folder"
            )
    return {name: sorted(files[name], key=lambda path: (path.name, path.parent)) for name in sorted(files)}


def _is_image(path: Path) -> bool:
    """By its name; a folder is none, nor what would be waited for when read, such as a pipe.

    A link to nothing is one, so that it is named when it is read.
    """
    return path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())


def _require_text(folder: Path) -> None:
    """Class names stand in manifests and tables, which are UTF-8."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the folder {str(folder)!a} has a name that is not UTF-8; rename it") from error


def check_counts(files: dict[str, list[Path]], folder: Path, classes: int, images: int) -> None:
    """Raises UserError unless there are exactly `classes` classes of `images` images each."""
    if len(files) != classes:
        raise UserError(f"{folder} holds {len(files)} class folders instead of {classes}; complete it")
    for name, paths in files.items():
        if len(paths) != images:
            raise UserError(
                f"{folder}: class {name} holds {len(paths)} images instead of {images}; complete it"
            )


def is_grey(files: Sequence[Path]) -> bool:
    """True if every file's header says that it is grey."""
    return all(_header_is_grey(path) for path in files)


def _header_is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in GREY_MODES
    except BROKEN as error:
        raise _broken(path, error) from error


def read_images(files: Sequence[Path], grey: bool = False, size: int | None = None) -> Tensor:
    """The files' pixels as uint8 [N, C, H, W], C 1 if grey else 3.

    With a size, the short side is brought to it (bilinear) and the centre is cut out. Raises UserError that
    names the first file that cannot be read, or whose size differs from the first file's. What is transparent
    shows white.
    """
    first = _pixels(files[0], grey, size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def fill(number: int) -> None:
        pixels = _pixels(files[number], grey, size)
        if pixels.shape != first.shape:
            raise UserError(
                f"{files[number]} is {_size(pixels)} pixels and {files[0]} is {_size(first)}; "
                "set data.image_size, or bring them to one size"
            )
        images[number] = pixels

    _each_number(fill, len(files), threads=files[0].stat().st_size >= WORTH_A_THREAD)
    return torch.from_numpy(images)


def read_classes(
    files: dict[str, list[Path]], grey: bool = False, size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images of all classes, class after class, and their labels: the class's place in `files`."""
    paths = [path for group in files.values() for path in group]
    counts = torch.tensor([len(group) for group in files.values()])
    return read_images(paths, grey, size), torch.repeat_interleave(torch.arange(len(files)), counts)


def _pixels(path: Path, grey: bool, size: int | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            if opened.mode not in GREY_MODES | COLOUR_MODES:
                raise ValueError(f"mode {opened.mode} is not 8 bits a channel")
            image = _on_white(ImageOps.exif_transpose(opened)).convert("L" if grey else "RGB")
    except BROKEN as error:
        raise _broken(path, error) from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    # The decoder gives rows of pixels of channels [H, W, C]; a reshape here would scramble the image.
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _on_white(image: Image.Image) -> Image.Image:
    """The picture as a viewer shows it; a conversion alone would show what lies under transparent pixels."""
    if not image.has_transparency_data:
        return image
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _broken(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path} is not a readable image ({error}); replace the file")


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def _each_number(call: Callable[[int], None], count: int, threads: bool) -> None:
    """Calls for 0 to count - 1, on all cores if `threads`; the first error ends it."""
    if not threads:
        for number in range(count):
            call(number)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(call, range(count)):
            pass
