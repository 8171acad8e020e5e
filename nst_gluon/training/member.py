"""One process of a group that trains together: ``python -m nst_gluon.training.member``, started by
:mod:`nst_gluon.training.together`.

The first line of standard input says what it is to do, as JSON; when standard input is closed it ends at once, on
another machine too. The last line of standard output is its answer: {"net": path} or {"error": text,
"diverged": whether that is why}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_gluon import methods
from nst_gluon.system import runtime
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import one_line, quoted

# ps-lite would bind this port on every machine.
NOT_OURS = "PORT"
WHOLE = 1 << 24  # whole numbers below are exact in float32
SUMMED = 6  # numbers that a step adds up: five terms, and whether all is finite


class Together:
    """A worker's end of the group.

    Attributes:
        rank, workers: which of how many; rank 0 writes the files.
    """

    def __init__(self) -> None:
        from nst_gluon.system.engine import mx

        self._mx, self._store, self._begun = mx, mx.kv.create("dist_sync"), False
        self.rank, self.workers = self._store.rank, self._store.num_workers

    def add_up(self, arrays: Sequence[Any], numbers: Sequence[float]) -> list[float]:
        """Replace ``arrays`` (of float32) by their sums over all workers, and return those of ``numbers``.

        All that was asked of the engine is waited for first: gradients that are still being computed are sent as they
        were a step before, without a word, and the workers drift apart. The server adds up in the order of arrival,
        which two numbers do not mind; of more workers each has a row of its own, and they are added up here, in one
        order, as one process would: Adam makes whole steps of the rounding errors of gradients that should be zero.
        """
        nd = self._mx.nd
        flat = nd.concat(*(array.reshape((-1,)) for array in arrays), nd.array(numbers, dtype="float32"), dim=0)
        rows, mine = (1, 0) if self.workers <= 2 else (self.workers, self.rank)
        sent = nd.zeros((rows, flat.size))
        sent[mine] = flat
        nd.waitall()
        if not self._begun:
            self._store.init(0, nd.zeros_like(sent))
            self._begun = True
        self._store.push(0, sent)
        self._store.pull(0, out=sent)
        flat = sent[0]
        for row in range(1, rows):
            flat = flat + sent[row]
        nd.waitall()
        at = 0
        for array in arrays:
            array[:] = flat[at : at + array.size].reshape(array.shape)
            at += array.size
        return flat[at:].asnumpy().astype(float).tolist()

    def check(self, arrays: Mapping[str, Any], like: Sequence[Any], iteration: int) -> None:
        """Raise UserError, in every worker, if ``arrays`` are not the same in all of them, bit for bit.

        ``like``: arrays of the sizes of those of :meth:`add_up`.
        """
        digest = 0
        for name in sorted(arrays):
            digest = zlib.crc32(arrays[name].asnumpy().tobytes(), digest)
        numbers = [0.0] * (2 * self.workers)
        numbers[2 * self.rank : 2 * self.rank + 2] = [float(digest % WHOLE), float(digest // WHOLE)]
        # Few enough to stand in the place of what a step adds up.
        size = sum(array.size for array in like) + SUMMED
        told = self.add_up([], [*numbers, *([0.0] * (size - len(numbers)))])[: len(numbers)]
        if len(set(zip(told[::2], told[1::2]))) > 1:
            raise UserError(f"--workers: the workers' nets differ at iteration {iteration}; they must see the same "
                            "--output folder and have the same versions; start again in another folder")  # fmt: skip



def _watch() -> None:
    """End this process when standard input is closed: whoever started it is gone."""

    def watch() -> None:
        while os.read(0, 1 << 16):  # not through sys.stdin, which Python locks when it ends
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    job = json.loads(sys.stdin.buffer.readline())
    _watch()
    os.environ.pop(NOT_OURS, None)
    os.environ.update(job["network"], DMLC_ROLE=job["role"], DMLC_NODE_HOST=job["address"])
    if job["role"] != "worker":
        from nst_gluon.system import engine  # noqa: F401 - the import itself serves, until the workers have ended

        return 0
    answer = dict(_answer(job))
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


def _answer(job: Mapping[str, Any]) -> dict[str, Any]:
    try:
        runtime.check_dtype(job["config"]["dtype"], runtime.parse_device(job["device"]))
        methods.get(job["method"])  # one of somebody's own is known by its name from here on
        runtime.prepare(job["threads"] or max(1, runtime.available_cores() // job["share"]))
        from nst_gluon.system.engine import context
        from nst_gluon.training import run_folder
        from nst_gluon.training.config import TrainConfig

        fields = {**job["config"], "more_sizes": tuple(job["config"]["more_sizes"])}
        return {"net": str(run_folder.train(
            TrainConfig(**fields), Path(job["output"]), context(job["device"]), job["command"], together=Together(),
            **job["options"],
        ))}  # fmt: skip
    except (UserError, NotFinite) as error:
        return {"error": str(error), "diverged": isinstance(error, NotFinite)}
    except OSError as error:
        where = f"{quoted(error.filename)}: " if error.filename else ""
        return {"error": f"--output: {where}{one_line(error)}", "diverged": False}


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Not sys.exit: MXNet waits for the others when it is unloaded, and after an error they do not come.
    os._exit(status) if status else sys.exit(0)
