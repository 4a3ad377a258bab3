"""A bundle on a camera: python examples/camera_inference.py BUNDLE [SOURCE]

SOURCE is camera:0, a video, a folder of images, or synthetic:shapes where there is no camera.
"""

import sys

from edge_sdk import open_pipeline

bundle = sys.argv[1]
source = sys.argv[2] if len(sys.argv) > 2 else "camera:0"
with open_pipeline(bundle, source, sinks=["results.jsonl"]) as pipeline:
    for frame, result in pipeline:
        print(frame.index, result.to_json())
    print(pipeline.summary().to_json())
