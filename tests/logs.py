"""Readers of logs, those that come with TensorBoard, MLflow and Weights & Biases."""

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FINAL = "final/"


def picture(content: bytes) -> Any:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def split(points: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """Curves, and what a run came to at last."""
    return {
        "points": {name: values for name, values in points.items() if not name.startswith(FINAL)},
        "final": {name.removeprefix(FINAL): values[-1][1] for name, values in points.items() if name.startswith(FINAL)},
    }


def read_tensorboard(folder: Path) -> dict[str, dict[str, Any]]:
    """Every run below a folder: points of all event files, parameters of the table, the last image."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    runs = {}
    for place in sorted({file.parent for file in folder.rglob("events.out.tfevents.*")}):
        read = EventAccumulator(str(place), size_guidance={"scalars": 0, "images": 0})
        read.Reload()
        points = {
            tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]
        }  # fmt: skip
        parameters: dict[str, Any] = {}
        with contextlib.suppress(KeyError):  # of a run that was left
            plugin = read.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data
            parsed = metadata.parse_session_start_info_plugin_data(plugin.content).hparams
            parameters = {name: getattr(value, value.WhichOneof("kind")) for name, value in parsed.items()}
        images = [picture(one.encoded_image_string) for tag in read.Tags()["images"] for one in read.Images(tag)]
        name = place.name if place.name not in runs else str(place)
        runs[name] = {**split(points), "parameters": parameters, "image": images[-1] if images else None}
    return runs


def read_mlflow(folder: Path) -> dict[str, dict[str, Any]]:
    """Every run of the databases below a folder."""
    from mlflow import MlflowClient

    runs: dict[str, dict[str, Any]] = {}
    for file in folder.rglob("mlflow.db"):
        client = MlflowClient(tracking_uri=f"sqlite:///{file}")
        (experiment,) = [one for one in client.search_experiments() if one.name == "scalesearch"]
        for run in client.search_runs([experiment.experiment_id]):
            number = run.info.run_id
            points = {
                name: sorted((one.step, one.value) for one in client.get_metric_history(number, name))
                for name in run.data.metrics
            }
            images = list((file.parent / "artifacts" / number).rglob("*.png"))
            ids = [*runs.get(run.info.run_name, {}).get("ids", []), number]
            runs[run.info.run_name] = {
                **split(points), "parameters": run.data.params, "status": run.info.status, "ids": ids,
                "image": picture(images[0].read_bytes()) if images else None,
            }  # fmt: skip
    return runs


def records(file: Path) -> list[Any]:
    """Of an offline run: its service writes the last of them a moment after the run was finished."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    for _ in range(300):
        store, read = DataStore(), []
        store.open_for_scan(str(file))
        try:
            while (content := store.scan_data()) is not None:
                read.append(wandb_internal_pb2.Record())
                read[-1].ParseFromString(content)
        except AssertionError:  # a block that is not whole yet
            read.clear()
        finally:
            store.close()
        if any(one.WhichOneof("record_type") == "exit" for one in read):
            return read
        time.sleep(0.1)
    raise AssertionError(f"{file} was not finished")


def read_wandb(folder: Path) -> dict[str, dict[str, Any]]:
    """Every offline run below a folder, by the records that ``wandb sync`` would send."""
    runs: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("run-*.wandb")):
        points: dict[str, list[tuple[int, float]]] = {}
        name, parameters, final = "", {}, {}
        for record in records(file):
            match record.WhichOneof("record_type"):
                case "run":
                    name = record.run.display_name or name
                    parameters |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
                case "history":
                    values = {"/".join(one.nested_key) or one.key: json.loads(one.value_json)
                              for one in record.history.item}  # fmt: skip
                    for key, value in values.items():
                        if isinstance(value, int | float) and not key.startswith("_"):
                            points.setdefault(key, []).append((values["_step"], value))
                case "summary":
                    final |= {"/".join(one.nested_key) or one.key: json.loads(one.value_json)
                              for one in record.summary.update}  # fmt: skip
        images = list(file.parent.rglob("*.png"))
        ends = {key: [(0, value)] for key, value in final.items() if key.startswith(FINAL)}
        shown = name if name not in runs else str(file)
        runs[shown] = {
            **split(points | ends), "image": picture(images[0].read_bytes()) if images else None,
            "parameters": {key: value for key, value in parameters.items() if key not in ("data", "_wandb")},
        }  # fmt: skip
    return runs
