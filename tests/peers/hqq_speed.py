#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much faster HQQ is here than in eager torch on the same CPU: both in one run, by turns, over the same weights.

usage: hqq_speed.py PATH-OF-nibblescope-cli [REPETITIONS, 2]
needs (PyPI): numpy torch, and hqq for the package's own function; exits with 77 where torch is missing

Weights are the benchmark's first 4096 x 4096 (float32, groups of 64, 4 bits). torch runs the reference's formula with all 20
iterations; hqq's own function stops early where its error grows, and is timed as it comes. Here it is the row `hqq g64 4 bit, 20
iterations` of `nibblescope-cli bench`, which includes ranges and codes. Ratios are of weights per second, least time of each.
"""
import json
import subprocess
import sys
import time

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"SKIP   : {missing}")
    sys.exit(77)

SIDE, GROUP, ITERATIONS, GOAL = 4096, 64, 20, 100
ROW = "hqq g64 4 bit, 20 iterations"


def benchmark_weights(count):
    """What core/run/bench_rows.cpp makes out of a counter."""
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    total = np.full(count, -2, np.float32)
    for i in range(4):
        total += ((x >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.float32) * np.float32(2.0**-16)
    return total * np.float32(0.0346)


def solve(weights, iterations=ITERATIONS, p=0.7, beta=10.0):
    """The half-quadratic iterations as HQQ states them: codes, shrunk residual, new zero point; and the error of each."""
    low, high = weights.min(axis=1, keepdim=True)[0], weights.max(axis=1, keepdim=True)[0]
    scale = (15 / (high - low)).clamp(max=2e4)
    zero = -low * scale
    for _ in range(iterations):
        codes = torch.round(weights * scale + zero).clamp(0, 15)
        residual = weights - (codes - zero) / scale
        magnitude = torch.abs(residual)
        shrunk = torch.sign(residual) * torch.nn.functional.relu(magnitude - magnitude.pow(p - 1) / beta)
        zero = torch.mean(codes - (weights - shrunk) * scale, axis=1, keepdim=True)
        float(magnitude.mean())  # the error that decides whether to stop
    return torch.round(weights * scale + zero).clamp(0, 15)


def package_solver():
    try:
        from hqq.core.quantize import Quantizer
    except ImportError as missing:
        print(f"SKIP   : hqq's own function: {missing}")
        return None
    return lambda w: Quantizer.quantize(w, nbits=4, channel_wise=True, group_size=GROUP, optimize=True, round_zero=False, axis=1,
                                        device="cpu", compute_dtype=torch.float32, bitpack=False)


def seconds_of(work, *arguments):
    start = time.perf_counter()
    with torch.no_grad():
        work(*arguments)
    return time.perf_counter() - start


def seconds_per_weight_here(cli):
    done = subprocess.run([cli, "bench", "--filter", f"^{ROW}$", "--json"], capture_output=True, text=True)
    rows = json.loads(done.stdout)["rows"]  # a status other than 0 speaks of R, which is of no concern here
    return rows[0]["seconds"] / rows[0]["weights"]


def main(cli, repetitions):
    count = SIDE * SIDE
    matrix = torch.from_numpy(benchmark_weights(count)).reshape(SIDE, SIDE)
    works = {"torch, 20 iterations": (solve, matrix.reshape(-1, GROUP))}
    package = package_solver()
    if package is not None:
        works["hqq, which stops early"] = (package, matrix)
    here, times = [], {name: [] for name in works}
    for _ in range(repetitions):
        here.append(seconds_per_weight_here(cli) * count)
        for name, (work, argument) in works.items():
            times[name].append(seconds_of(work, argument))
    here.append(seconds_per_weight_here(cli) * count)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; here {min(here) * 1e3:.1f} ms for {SIDE} x {SIDE}")
    ratios = {name: min(values) / min(here) for name, values in times.items()}
    for name in works:
        print(f"{name}: {min(times[name]):.2f} s, {ratios[name]:.0f} x")
    met = ratios["torch, 20 iterations"] >= GOAL
    print(f"goal {GOAL} x: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2))
