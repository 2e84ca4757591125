#!/usr/bin/env bash
# Everything that needs a real GPU, from a checkout to one result file: builds, runs the GPU tests, the sanitizer, the benchmark and PyTorch.
# Needs a CUDA toolkit (nvcc), CMake >= 3.22 and g++ >= 11; no Node, no network. PyTorch and compute-sanitizer are used where they are.
#   bench/gpu/run.sh [--data FOLDER] [--machine NAME] [--suites LIST] [--whole] [--build FOLDER]
# --whole: the Lasso of the paper's scale for all 60,000 targets. --data: the binary files of CIFAR-10, to train whole models; --machine: folder below bench/results (default: the GPU's name).
# Exit codes: 0; 1 a build, test or check failed; 2 usage; 4 a tool or the GPU is missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build="$root/build-gpu" data="" machine="" suites="evaluate,lasso,train" whole=""
while [ $# -gt 0 ]; do
  case "$1" in
    --data | --machine | --suites | --build)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case "$1" in --data) data=$2 ;; --machine) machine=$2 ;; --suites) suites=$2 ;; --build) build=$2 ;; esac
      shift 2 ;;
    --whole) whole=--whole; shift ;;
    *) echo "run.sh: unknown option $1. Options: --data, --machine, --suites, --whole, --build" >&2; exit 2 ;;
  esac
done

say() { echo "== $*" >&2; }
missing() { echo "run.sh: $1 is missing. $2" >&2; exit 4; }
failed() { echo "run.sh: $1" >&2; exit 1; }

command -v cmake > /dev/null || missing cmake "Install CMake 3.22 or later."
command -v g++ > /dev/null || missing g++ "Install g++ 11 or later."
command -v nvcc > /dev/null || [ -x "${CUDACXX:-}" ] || missing nvcc "Install a CUDA toolkit, put its bin folder into PATH, or set CUDACXX."
if command -v nvidia-smi > /dev/null; then
  nvidia-smi -L > /dev/null 2>&1 || missing "a GPU" "nvidia-smi sees none: $(nvidia-smi -L 2>&1 | head -n 1)"
else
  [ -e /dev/nvidia0 ] || missing "a GPU" "There is neither nvidia-smi nor /dev/nvidia0: run this where an NVIDIA driver is installed."
fi
if [ -z "$machine" ]; then
  machine=$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1 | tr '[:upper:] ' '[:lower:]-' || true)
fi
[ -n "$machine" ] || machine=gpu

say "building in $build"
jobs=$(nproc)
tests=$(cd "$root/test/native/cuda" && for file in *_test.cu *_test.cpp; do [ -e "$file" ] && echo "${file%.*}"; done | sort)
# for this GPU only where the driver tells its kind: every architecture more is minutes
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d '. ' || true)
case "$capability" in '' | *[!0-9]*) architectures="" ;; *) architectures=-DCMAKE_CUDA_ARCHITECTURES=$capability ;; esac
mkdir -p "$build"
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DLETHE_CUDA=ON -DLETHE_NATIVE_TESTS=ON -DLETHE_GPU_BENCH=ON \
  $architectures > "$build/configure.log" 2>&1 || { cat "$build/configure.log" >&2; failed "cmake could not configure the build."; }
# shellcheck disable=SC2086
cmake --build "$build" --parallel "$jobs" --target lethe_gpu_bench $tests > "$build/build.log" 2>&1 || { tail -n 40 "$build/build.log" >&2; failed "the build failed; all of it: $build/build.log"; }

# a failure is told at the end: machines with a GPU are rare, and one run shall say all it can
rows="" failures=""
run_test() { # name, command...
  local name=$1 output status=0
  shift
  say "$name"
  output=$("$@" 2>&1) || status=$?
  echo "$output" >&2
  [ "$status" -eq 0 ] || failures="$failures $name (exit code $status);"
  rows="$rows${rows:+,}{\"test\":\"$name\",\"result\":\"$(echo "$output" | grep -E '[0-9]+ passed, [0-9]+ failed' | tail -n 1)\"}"
}
for name in $tests; do run_test "$name" "$build/$name"; done
if command -v compute-sanitizer > /dev/null; then
  for name in gpu_test evaluate_gpu_test; do
    for tool in memcheck racecheck synccheck; do run_test "$tool $name" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/$name"; done
  done
else
  say "compute-sanitizer is not there: skipped"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "benchmark"
"$build/lethe_gpu_bench" --suites "$suites" $whole ${data:+--data "$data"} > "$work/bench.json" || {
  failures="$failures a check of the benchmark;"
  [ -s "$work/bench.json" ] || echo null > "$work/bench.json"
}
peer=null
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' > /dev/null 2>&1; then
  say "PyTorch"
  if python3 "$root/bench/gpu/peer_torch.py" > "$work/peer.json"; then peer=$(cat "$work/peer.json"); else say "PyTorch failed: the result has no peer"; fi
else
  say "PyTorch with a GPU is not there: skipped"
fi
folder="$root/bench/results/$machine"
result="$folder/$(date -u +%Y-%m-%d)-gpu.json"
mkdir -p "$folder"
commit=$(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)
{
  printf '{"document":"lethe.bench-gpu-run","version":1,"commit":"%s","failures":"%s","tests":[%s],\n"bench":' "$commit" "$failures" "$rows"
  cat "$work/bench.json"
  printf ',"peer":%s}\n' "$peer"
} > "$result"
say "written: $result"
[ -z "$failures" ] || failed "failed:$failures"
