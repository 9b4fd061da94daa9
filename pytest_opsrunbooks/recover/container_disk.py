"""What a container engine uses of the disk, from its JSON. Nothing here does I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskUsage:
    """Sizes in bytes, as the engine tells them. A figure that it does not tell is None."""

    images_bytes: int | None
    """Layers that images share are counted once where the engine says so (Docker), else for each image."""
    dangling_images: int
    dangling_images_bytes: int
    """Of images without a name and without a container."""
    containers_bytes: int
    """What containers have written beside their volumes."""
    stopped_containers_bytes: int
    volumes_bytes: int
    build_cache_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed: ids of images, and what the engine says that it gained."""

    image_ids: tuple[str, ...]
    reclaimed_bytes: int


def usage(answer: Any) -> DiskUsage:
    """From `GET /system/df`."""
    told = answer if isinstance(answer, dict) else {}
    images, containers = _tables(told.get("Images")), _tables(told.get("Containers"))
    dangling = [image for image in images if not _named(image) and not _size(image.get("Containers"))]
    layers = _size(told.get("LayersSize")) or sum(_size(image.get("Size")) for image in images)
    return DiskUsage(
        images_bytes=layers if isinstance(told.get("Images"), list) or layers else None,
        dangling_images=len(dangling),
        dangling_images_bytes=sum(_size(image.get("Size")) for image in dangling),
        containers_bytes=sum(_size(each.get("SizeRw")) for each in containers),
        stopped_containers_bytes=sum(
            _size(each.get("SizeRw"))
            for each in containers
            if each.get("State") in ("exited", "created", "dead")
        ),
        volumes_bytes=sum(
            _size(usage.get("Size"))
            for each in _tables(told.get("Volumes"))
            for usage in _tables([each.get("UsageData")])
        ),
        build_cache_bytes=sum(_size(each.get("Size")) for each in _tables(told.get("BuildCache"))),
    )


def pruned(answer: Any) -> Pruned:
    """From `POST /images/prune`; its list is null where nothing was removed."""
    told = answer if isinstance(answer, dict) else {}
    ids = [each.get("Deleted") for each in _tables(told.get("ImagesDeleted"))]
    return Pruned(
        image_ids=tuple(each for each in ids if isinstance(each, str)),
        reclaimed_bytes=_size(told.get("SpaceReclaimed")),
    )


def tags(images: Any) -> frozenset[str]:
    """Every name in `GET /images/json`."""
    return frozenset(tag for image in _tables(images) for tag in _named(image))


def _named(image: dict[str, Any]) -> list[str]:
    names: Iterable[Any] = image.get("RepoTags") or ()
    return [name for name in names if isinstance(name, str) and name not in ("", "<none>:<none>", "<none>")]


def _tables(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _size(value: Any) -> int:
    """A size; -1 is how an engine says that it did not measure."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
