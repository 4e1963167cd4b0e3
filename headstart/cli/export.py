"""`headstart export MODEL`: one file that runs without headstart, checked against PyTorch on real images."""

from __future__ import annotations

from headstart.catalog.device import ExportConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


def run(config: ExportConfig) -> int:
    """Carry out `headstart export`; the network and everything that needs torch is loaded here."""
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        from headstart.export.export import export

        found = export(config, listeners=(show,))
    if config.json:
        speak.say_json(found.summary)
    else:
        speak.say(speak.clean(str(found)))
    return 0


COMMAND = Command(
    name="export",
    summary="Write a saved model as one file for a device (ONNX, int8, torch.export), checked on real images.",
    config=ExportConfig,
    run=run,
    examples=(
        "headstart export runs/photos",
        "headstart export runs/photos --quantize int8 --images photos --max-loss 0.01",
        "headstart export runs/photos/model --to torch-export --out photos.pt2",
    ),
    details="ONNX files need the extra packages of pip install 'headstart[device]'; see docs/device.md.",
)
