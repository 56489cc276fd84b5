"""OpenVINO: a stateful GPT-2 with the KV cache in the plugin, by raw infer requests.

The graph is that of optimum-intel: attention over a state that grows by concatenation, which the
CPU plugin fuses. The head gets the last position only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as op
from numpy.typing import NDArray
from openvino.op import Constant
from openvino.op.util import Variable, VariableInfo

from benchmarks.peers.gpt2_weights import EPSILON, draw
from benchmarks.peers.protocol import Setup, serve

GROUP = 128  # weights per scale at 4 bits, as in NNCF

Node = Any


def matrix(weight: NDArray[np.float32], kind: str) -> Node:
    """Weights of a dtype, converted to float32 in the graph; the plugin keeps the dtype if it can.

    int8 has one scale per row, int4 one per group.
    """
    if kind == "int8":
        scale = np.abs(weight).max(1, keepdims=True) / 127
        whole = op.constant(np.rint(weight / scale).astype(np.int8))
        return op.multiply(op.convert(whole, "f32"), op.constant(scale))
    if kind == "int4":
        rows, columns = weight.shape
        groups = weight.reshape(rows, -1, min(GROUP, columns))
        scale = np.abs(groups).max(2, keepdims=True) / 7
        nibbles = np.rint(groups / scale).astype(np.int8).reshape(-1, 2) & 15
        packed = (nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8)
        whole = Constant(ov.Tensor(packed, ov.Shape(groups.shape), ov.Type.i4))
        product = op.multiply(op.convert(whole, "f32"), op.constant(scale))
        return op.reshape(product, np.array([rows, columns]), False)
    if kind == "bfloat16":
        widened = op.convert(op.constant(weight, ov.Type.bf16), "f32")
        widened.get_rt_info()["decompression_0"] = ""  # prevents constant folding
        return widened
    return op.constant(weight)


class Graph:
    """GPT-2 as a graph of nodes."""

    def __init__(self, shape: dict[str, int], kind: str) -> None:
        self.shape, self.kind, self.weights = shape, kind, draw(shape)
        self.width, self.head_width = shape["n_embd"], shape["n_embd"] // shape["n_head"]
        self.sinks: list[Node] = []
        self.ids = op.parameter([-1, -1], ov.Type.i64, "input_ids")
        self.positions = op.parameter([-1, -1], ov.Type.i64, "position_ids")
        self.beams = op.parameter([-1], ov.Type.i32, "beam_idx")
        for each in (self.ids, self.positions, self.beams):
            each.output(0).set_names({each.friendly_name})
        batch = op.gather(op.shape_of(self.ids), np.array([0]), np.array(0))
        heads = np.array([shape["n_head"], 0, self.head_width])
        empty = op.concat([batch, op.constant(heads)], 0)
        self.start = op.broadcast(op.constant(np.float32(0)), empty)

    def model(self) -> ov.Model:
        """Ids (B, T) and positions (B, T) to logits (B, 1, V)."""
        table = matrix(self.weights["wte.weight"], self.kind)  # also the head
        x = op.add(
            op.gather(table, self.ids, np.array(0)),
            op.gather(op.constant(self.weights["wpe.weight"]), self.positions, np.array(0)),
        )
        mask = self._mask()
        for layer in range(self.shape["n_layer"]):
            name = f"h.{layer}"
            x = op.add(x, self._attention(name, self._norm(f"{name}.ln_1", x), mask))
            wide = op.gelu(self._linear(f"{name}.mlp.c_fc", self._norm(f"{name}.ln_2", x)), "TANH")
            x = op.add(x, self._linear(f"{name}.mlp.c_proj", wide))
        last = op.gather(x, np.array([-1]), np.array(1))
        logits = op.matmul(self._norm("ln_f", last), table, False, True)
        inputs = [self.ids, self.positions, self.beams]
        return ov.Model([op.result(logits)], self.sinks, inputs, "gpt2")

    def _norm(self, name: str, x: Node) -> Node:
        normed = op.mvn(x, np.array([-1]), True, EPSILON, "INSIDE_SQRT")
        scaled = op.multiply(normed, op.constant(self.weights[f"{name}.weight"]))
        return op.add(scaled, op.constant(self.weights[f"{name}.bias"]))

    def _linear(self, name: str, x: Node) -> Node:
        weight = np.ascontiguousarray(self.weights[f"{name}.weight"].T)
        bias = op.constant(self.weights[f"{name}.bias"])
        return op.add(op.matmul(x, matrix(weight, self.kind), False, True), bias)

    def _mask(self) -> Node:
        """Additive causal mask (1, 1, T, S)."""
        new = op.gather(self.positions, np.array(0), np.array(0))
        total = op.add(op.gather(new, np.array(-1), np.array(0)), op.constant(np.int64(1)))
        seen = op.range(np.int64(0), total, np.int64(1), "i64")
        late = op.greater(seen, op.unsqueeze(new, np.array([1])))
        masked = op.select(late, op.constant(np.float32(-65504)), op.constant(np.float32(0)))
        return op.unsqueeze(masked, np.array([0, 1]))

    def _attention(self, name: str, x: Node, mask: Node) -> Node:
        qkv = op.variadic_split(
            self._linear(f"{name}.attn.c_attn", x), np.array(2), np.array([self.width] * 3)
        )
        heads = np.array([0, 0, self.shape["n_head"], self.head_width])
        query, *rest = (
            op.transpose(op.reshape(qkv.output(part), heads, True), np.array([0, 2, 1, 3]))
            for part in range(3)
        )
        keys, values = (
            self._with_past(f"{name}.{part}", each)
            for part, each in zip(("key", "value"), rest, strict=True)
        )
        mixed = op.scaled_dot_product_attention(query, keys, values, mask)
        mixed = op.transpose(mixed, np.array([0, 2, 1, 3]))
        merged = op.reshape(mixed, np.array([0, 0, self.width]), True)
        return self._linear(f"{name}.attn.c_proj", merged)

    def _with_past(self, name: str, new: Node) -> Node:
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, self.shape["n_head"], -1, self.head_width])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        past = op.gather(op.read_value(self.start, variable), self.beams, np.array(0))
        whole = op.concat([past, new], 2)
        self.sinks.append(op.assign(whole, variable))
        return whole


class OpenVino:
    """An Engine."""

    def __init__(self, setup: Setup) -> None:
        core = ov.Core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": setup.threads}
        if setup.variant == "float32":  # otherwise bfloat16 if the processor supports it
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        model = Graph(setup.shape, setup.variant).model()
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        ids = self._started(prompts)
        found = [ids]
        for position in range(len(prompts[0]), len(prompts[0]) + new - 1):
            ids = self._next(ids[:, None], np.full((len(ids), 1), position))
            found.append(ids)
        return np.stack(found, 1).tolist()

    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        return self._started(prompts).tolist()

    def _started(self, prompts: list[list[int]]) -> NDArray[np.int64]:
        self._request.reset_state()
        ids = np.array(prompts)
        return self._next(ids, np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy())

    def _next(self, ids: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        beams = np.arange(len(ids), dtype=np.int32)
        for place, array in enumerate((ids, positions, beams)):
            self._request.set_input_tensor(place, ov.Tensor(array))
        self._request.infer()
        return self._request.get_output_tensor(0).data[:, -1].argmax(-1)


if __name__ == "__main__":
    serve(("openvino",), OpenVino)
