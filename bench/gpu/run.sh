#!/usr/bin/env bash
# Everything that needs a real GPU, from a checkout to one result file: builds, runs the GPU tests, the sanitizer, the benchmark and PyTorch.
# Needs a CUDA toolkit (nvcc), CMake >= 3.22 and g++ >= 11; no Node, no network. PyTorch and compute-sanitizer are used where they are.
#   bench/gpu/run.sh [--steps LIST] [--suites LIST] [--whole] [--data FOLDER] [--limit SECONDS] [--out FOLDER] [--build FOLDER]
# --steps: of test,sanitize,bench,peer (default: all), for machines that are lent by the minute; the build is kept from one call to the next.
# --suites: of the benchmark (evaluate,lasso,train). --whole: the Lasso of the paper's scale for all 60,000 targets. --data: the binary files of CIFAR-10,
# to train whole models. --limit: of each test, sanitizer and benchmark (default: 300, with --whole 1200), so that one that hangs does not cost the others.
# --out: where the result goes (default: bench/results/<name of the GPU>).
# Exit codes: 0; 1 a build, test or check failed; 2 usage; 4 a tool or the GPU is missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build="$root/build-gpu" data="" out="" suites="evaluate,lasso,train" whole="" steps="test,sanitize,bench,peer" limit=""
while [ $# -gt 0 ]; do
  case "$1" in
    --data | --out | --suites | --build | --steps | --limit)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case "$1" in --data) data=$2 ;; --out) out=$2 ;; --suites) suites=$2 ;; --build) build=$2 ;; --steps) steps=$2 ;; --limit) limit=$2 ;; esac
      shift 2 ;;
    --whole) whole=--whole; shift ;;
    *) echo "run.sh: unknown option $1. Options: --steps, --suites, --whole, --data, --limit, --out, --build" >&2; exit 2 ;;
  esac
done

for suite in ${suites//,/ }; do
  case "$suite" in evaluate | lasso | train) ;; *) echo "run.sh: unknown suite $suite. Suites: evaluate, lasso, train" >&2; exit 2 ;; esac
done
for step in ${steps//,/ }; do
  case "$step" in test | sanitize | bench | peer) ;; *) echo "run.sh: unknown step $step. Steps: test, sanitize, bench, peer" >&2; exit 2 ;; esac
done
[ -n "$limit" ] || { limit=300; [ -z "$whole" ] || limit=1200; }
case "$limit" in *[!0-9]*) echo "run.sh: --limit expects whole seconds, received $limit" >&2; exit 2 ;; esac

say() { echo "== $(printf '%4d' $SECONDS) s: $*" >&2; }
wanted() { case ",$steps," in *",$1,"*) ;; *) return 1 ;; esac; }
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
if [ -z "$out" ]; then
  machine=$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1 | tr '[:upper:] ' '[:lower:]-' || true)
  out="$root/bench/results/${machine:-gpu}"
fi

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
  local name=$1 output result status=0
  shift
  say "$name"
  output=$(timeout "$limit" "$@" 2>&1) || status=$?
  echo "$output" >&2
  result=$(echo "$output" | grep -E '[0-9]+ passed, [0-9]+ failed' | tail -n 1 || true)
  if [ "$status" -ne 0 ]; then
    failures="$failures $name (exit code $status);"
  else
    case "$result" in
      *', 0 skipped') ;;
      '') failures="$failures $name (it said no result);" ;;
      *) failures="$failures $name (skipped: it saw no GPU);" ;;
    esac
  fi
  rows="$rows${rows:+,}{\"test\":\"$name\",\"result\":\"$result\"}"
}
if wanted test; then
  for name in $tests; do run_test "$name" "$build/$name"; done
fi
if ! wanted sanitize; then
  :
elif command -v compute-sanitizer > /dev/null; then
  for name in gpu_test evaluate_gpu_test; do
    for tool in memcheck racecheck synccheck; do run_test "$tool $name" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/$name"; done
  done
else
  say "compute-sanitizer is not there"
  [ "$steps" != sanitize ] || missing compute-sanitizer "It comes with the CUDA toolkit; leave the step out where there is none."
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench=""
if wanted bench; then
  for suite in ${suites//,/ }; do  # each with its own time: what one has measured is not lost when another hangs
    say "benchmark of $suite"
    # shellcheck disable=SC2086
    { timeout "$limit" "$build/lethe_gpu_bench" --suites "$suite" $whole ${data:+--data "$data"} 2>&1 > "$work/$suite.json"; } | tee "$work/$suite.log" >&2 ||
      failures="$failures the benchmark of $suite (exit code $?);"
    if [ ! -s "$work/$suite.json" ]; then  # it was stopped: the rows it had
      echo "{\"document\":\"lethe.bench-gpu\",\"version\":1,\"incomplete\":true,\"results\":[$(grep '^{' "$work/$suite.log" | paste -sd, || true)]}" > "$work/$suite.json"
    fi
    bench="$bench${bench:+,}$(cat "$work/$suite.json")"
  done
fi
peer=null
if ! wanted peer; then
  :
elif python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' > /dev/null 2>&1; then
  say "PyTorch"
  if timeout "$limit" python3 "$root/bench/gpu/peer_torch.py" > "$work/peer.json"; then peer=$(cat "$work/peer.json"); else say "PyTorch failed: the result has no peer"; fi
else
  say "PyTorch with a GPU is not there: skipped"
fi
all="test,sanitize,bench,peer" part=""
[ "$steps" = "$all" ] || part="-${steps//,/-}"
[ "$suites" = "evaluate,lasso,train" ] || part="$part-${suites//,/-}"
result="$out/$(date -u +%Y-%m-%d)-gpu$part.json"
mkdir -p "$out"
commit=$(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)
{
  printf '{"document":"lethe.bench-gpu-run","version":1,"commit":"%s","failures":"%s","tests":[%s],\n"bench":[%s],\n"peer":%s}\n' "$commit" "$failures" "$rows" "$bench" "$peer"
} > "$result"
say "written: $result"
[ -z "$failures" ] || failed "failed:$failures"
