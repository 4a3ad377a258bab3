"""A video made larger: python examples/enhance_a_video.py BUNDLE VIDEO OUT.mp4

BUNDLE is of a model that enhances pictures, as this makes one:

    edge-sdk convert zoo:espcn_x2 --weights espcn_x2.safetensors --profile raspberry-pi-5 \\
        --calibration PHOTOS -o espcn.edge
"""

from __future__ import annotations

import sys

from edge_sdk import open_pipeline


def main(bundle: str, video: str, output: str) -> int:
    """Enhance every frame, write them to `output`, and return how many there were."""
    with open_pipeline(bundle, video, sinks=[output]) as pipeline:
        for frame, enhanced in pipeline:
            sizes = (f"{p.shape[1]}x{p.shape[0]}" for p in (frame.image, enhanced.picture))
            print(f"frame {frame.index}:", " to ".join(sizes))
        frames = pipeline.summary().results
    print(f"wrote {frames} frames to {output}")
    return frames


if __name__ == "__main__":
    main(*sys.argv[1:])
