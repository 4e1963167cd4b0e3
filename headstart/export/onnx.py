"""ONNX files: one file with weights, preprocessing and class names, for any batch; and running one with ONNX Runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from headstart.errors import BackboneError, ModelFileError
from headstart.export.deployed import INPUT, Facts
from headstart.export.extras import need
from headstart.export.trace import block_with, quiet
from headstart.nets.rng import forked

OPSET = 18
KEY = "headstart"
"""Name of the metadata entry with the facts; `classes` beside it holds the names alone, for those who want no more."""
_OWN, _INNER = "headstart_answer_", "headstart_inner_"
"""Before names of outputs until the graph is there, and of other values that are called like one."""
LIMIT = 2_000_000_000
"""Bytes that one ONNX file can hold."""


def write_onnx(program: ExportedProgram, facts: Facts, path: Path) -> None:
    """Write a traced network as one ONNX file.

    Raises BackboneError naming the first operator that ONNX does not have, and the block it stands in.
    """
    onnx, _ = need("onnx", "onnxscript")
    try:
        with quiet(), forked(0):
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[f"{_OWN}{name}" for name in facts.outputs] if facts.tasks else list(facts.outputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise BackboneError(_not_in_onnx(program, facts.name, error)) from error
    assert made is not None
    proto = made.model_proto
    if proto.ByteSize() > LIMIT:
        raise BackboneError(
            f"{facts.name} has {proto.ByteSize() / 1e9:.1f} GB, more than the 2 GB of one ONNX file; use --to torch-export"
        )
    _tidy(proto)
    if facts.tasks:
        _call(proto.graph, facts.outputs)
    describe(proto, facts)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def _not_in_onnx(program: ExportedProgram, name: str, error: BaseException) -> str:
    """The operator at the root of a failed conversion."""
    said = "\n".join(str(one) for one in _causes(error))
    found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", said)
    if found is None:
        lines = [line.strip() for line in str(list(_causes(error))[-1]).splitlines() if line.strip()]
        return (
            f"{name} cannot be written as ONNX: {lines[0][:300] if lines else type(error).__name__}; use --to torch-export"
        )
    operator = found[1]
    block = block_with(program, operator.removeprefix("prims."))
    where = f" (in block {block})" if block else ""
    return (
        f"{name} cannot be written as ONNX: it uses the operator {operator}{where}, for which ONNX has none. "
        "Use --to torch-export, or a network without it"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _tidy(proto: Any) -> None:
    """Take out what the exporter noted for itself (paths of this machine among it), and call the free dimension `batch`."""
    graph = proto.graph
    del graph.value_info[:]
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _call(graph: Any, outputs: Sequence[str]) -> None:
    """Give outputs the names of their questions; values inside that are called so (`relu`) get another."""
    names = {f"{_OWN}{name}": name for name in outputs} | {name: f"{_INNER}{name}" for name in outputs}
    for value in (*graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]


def describe(proto: Any, facts: Facts) -> None:
    """Put the facts and the class names into a model's metadata."""
    del proto.metadata_props[:]
    names: Any = {one.name: list(one.classes) for one in facts.tasks} or list(facts.classes)
    for key, value in ((KEY, facts.text()), ("classes", json.dumps(names, ensure_ascii=False))):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    proto.producer_name, proto.producer_version = "headstart", facts.made_by.rpartition(" ")[2]


class OnnxRunner:
    """An ONNX file that headstart wrote, on the CPU.

    threads  that one run may use; None: ONNX Runtime's own choice
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        (ort,) = need("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that go on spinning after a run would slow down whatever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has no error class of its own that is public
            raise ModelFileError(
                f"{path} cannot be run as ONNX: {str(error).splitlines()[0][:300]}; export it again"
            ) from error
        kept = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if kept is None:
            raise ModelFileError(f"{path} was not written by headstart export: it says neither classes nor input size")
        self.facts = Facts.from_json(_parsed(kept, path), str(path))

    def __call__(self, samples: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """Logits and probabilities `[N, C]`, or the answer to every question."""
        return tuple(self.session.run(list(self.facts.outputs), {INPUT: samples}))


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ModelFileError(f"{path}: its description is damaged ({error}); export it again") from error
    return found if isinstance(found, dict) else {}
