"""ResNet-18 to a bundle for a Raspberry Pi 5.

    python examples/convert_a_model.py resnet18.safetensors PHOTOS resnet18.edge

The weights may be torchvision's (`torch.save(resnet18(weights="DEFAULT").state_dict(), F)`) or
your own; PHOTOS is a folder with some hundred photos such as the camera will see.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_sdk import Conversion, ConvertOptions, convert


def main(weights: str, photos: str, output: str) -> Conversion:
    """Convert, and say what went into the bundle."""
    options = ConvertOptions(weights=Path(weights))
    done = convert("zoo:resnet18", "raspberry-pi-5", output, photos, options)
    for artifact in done.manifest.artifacts:
        print(f"{artifact.label}: {artifact.file.size / 1e6:.1f} MB")
    print(f"wrote {done.path}, id {done.manifest.id[:12]}")
    return done


if __name__ == "__main__":
    main(*sys.argv[1:])
