"""Is there a GPU for a config that asks for one: driver, torch's build, memory. Said before anything starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.core.pipeline import parse_model
from deployments.weights.plan import gigabytes
from serve_app.config_file import ConfigFile
from serve_app.demand import demands

LARGEST_SHOWN = 4
TIMEOUT_S = 120
# Where a driver shows itself: natively, by its tools, and inside WSL.
DRIVER_PLACES = (Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))
# In a process of its own: torch is large, and a context on the device would stay as long as the server.
PROBE = """
import json, torch
found = {"build": torch.version.cuda, "torch": torch.__version__, "fault": "", "devices": []}
try:
    torch.cuda.init()
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found["devices"].append([torch.cuda.get_device_name(index), free, total])
except Exception as error:
    found["fault"] = str(error).splitlines()[0]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Device:
    name: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Graphics:
    """What torch finds. `build`: the CUDA release it was built for, None for a CPU build; `fault`: why CUDA does not
    start, in torch's words."""

    torch: str
    build: str | None
    fault: str
    devices: tuple[Device, ...]


def wants_gpu(config: ConfigFile) -> bool:
    return any(demand.gpus for demand in demands(config))


def has_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or any(place.exists() for place in DRIVER_PLACES)


def look() -> Graphics:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["torch ended without a word"])[-1]
        return Graphics("?", "?", last, ())
    found = json.loads(done.stdout.splitlines()[-1])
    devices = tuple(Device(*device) for device in found["devices"])
    return Graphics(found["torch"], found["build"], found["fault"], devices)


def gpu_problem(graphics: Graphics, driver: bool) -> str | None:
    """Why there is no GPU to compute on, and what to do; None if there is one."""
    if graphics.devices and not graphics.fault:
        return None
    if not driver:
        return (
            "this config needs an NVIDIA GPU, and no driver was found here (there is no nvidia-smi). Install the "
            "driver of your card; in a container, start it with `docker run --gpus all`; without a GPU, serve `cpu`"
        )
    if graphics.build is None:
        release = graphics.torch.partition("+")[0]
        return (
            f"there is a driver, but torch {graphics.torch} was built without CUDA. Install the build for it: "
            f"{sys.executable} -m pip install --force-reinstall torch=={release}"
        )
    fault = graphics.fault or "it finds no device"
    return f"torch {graphics.torch}, built for CUDA {graphics.build}, cannot use the GPU: {fault}"


def memory_problem(demanded: Mapping[str, int], devices: tuple[Device, ...]) -> str | None:
    """Why stages that take `demanded` bytes each don't fit into what is free on the devices; None if they may."""
    asked, free = sum(demanded.values()), sum(device.free_bytes for device in devices)
    most = max(demanded.values(), default=0)
    if asked <= free and most <= max(device.free_bytes for device in devices):
        return None
    largest = sorted(demanded.items(), key=lambda item: -item[1])[:LARGEST_SHOWN]
    listed = ", ".join(f"{name} {gigabytes(size)}" for name, size in largest)
    offered = ", ".join(
        f"{device.name}: {gigabytes(device.free_bytes)} of {gigabytes(device.total_bytes)}"
        for device in devices
    )
    return (
        f"the stages will take about {gigabytes(asked)} of device memory ({listed}), and free are {offered}. End what "
        "else uses the GPU, or lower what a stage takes: gpt.slots, gpt.max_length, dtype"
    )


def demanded_bytes(config: ConfigFile) -> dict[str, int]:
    """Device memory by deployment, all replicas together, by each model's own estimate. Reads sizes of its files."""
    replicas = {demand.deployment: demand.replicas for demand in demands(config) if demand.gpus}
    found = {}
    for name, entry in config.args.models.items():
        pipeline, settings = parse_model(name, entry)
        for deployment, size in pipeline.device_bytes(name, settings).items():
            if deployment in replicas:
                found[deployment] = size * replicas[deployment]
    return found
