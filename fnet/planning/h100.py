"""The H100 as XLA describes a GPU to its compiler, where there is none to ask.

The figures are those of NVIDIA's "H100 Tensor Core GPU Architecture" white paper and of the CUDA
programming guide's table of compute capability 9.0; the form is that of
`xla/stream_executor/device_description.proto`.
"""

from collections.abc import Iterable

CLOCK, TENSOR_CLOCK = 1.98, 1.83  # GHz, at most
CORES, LANES = 132, 128  # multiprocessors, and their units for float32

# (dtypes in the order of xla_data.proto, units a core, operations a clock of each): dtypes that a
# core's plain units multiply, float64, integers, float16, float32 and bfloat16; then those of its
# four tensor cores, where 8-bit and 16-bit floats, float32 (TF32) and float64 differ.
Row = tuple[tuple[int, ...], int, int]
PLAIN: list[Row] = [((4, 8, 12), 64, 1), ((11,), 128, 1), ((10, 16), 128, 2)]
TENSOR: list[Row] = [
    ((2, 6, 19, 20, 23, 24, 25, 28, 29, 33, 35, 36), 4, 1024),
    ((10, 16), 4, 512),
    ((11,), 4, 256),
    ((12,), 4, 32),
]


def units(clock: float, rows: Iterable[Row]) -> str:
    return " ".join(
        f"rate_infos {{ key: {dtype} value {{ clock_rate_ghz: {clock} units_per_core: {count} "
        f"ops_per_clock: {rate} }} }}"
        for dtypes, count, rate in rows
        for dtype in dtypes
    )


H100 = f"""
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
gpu_device_info {{
  name: "NVIDIA H100 80GB HBM3"
  device_vendor: "NVIDIA Corporation"
  platform_version: "Compute Capability 9.0a"
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  core_count: {CORES} fpus_per_core: {LANES} clock_rate_ghz: {CLOCK}
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: {2**31 - 1} block_dim_limit_y: {2**16 - 1} block_dim_limit_z: {2**16 - 1}
  registers_per_core_limit: {2**16} registers_per_block_limit: {2**16}
  shared_memory_per_core: {228 * 2**10} shared_memory_per_block: {48 * 2**10}
  shared_memory_per_block_optin: {227 * 2**10}
  memory_bandwidth: {3_352_320_000_000} l2_cache_size: {50 * 2**20}
  device_memory_size: {84_942_979_072} device_address_bits: 64 ecc_enabled: true
  scalar_unit_description {{ {units(CLOCK, PLAIN)} }}
  matrix_unit_description {{ {units(TENSOR_CLOCK, TENSOR)} }}
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}}
"""
