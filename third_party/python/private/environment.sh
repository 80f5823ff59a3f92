# What a program of this project does not take from its caller: the one list.
#
# Sourced by everything that starts the packaged CPython: bin/python3 beside this file,
# and continuon-run on a robot. Out goes what puts other code into that CPython, breaks
# it, or changes what is computed without a flag saying so. Everything else stays.
# third_party/README.md has the same as a table; tests/commands holds both.
# shellcheck shell=sh

# Prints the exported names to clear, in a process of its own, which leaves no variable.
refused() (
  set -f # values may hold patterns
  IFS='
'
  for name in $(export -p); do
    name=${name#export } # dash, and bash as sh
    name=${name#declare -x }
    name=${name%%=*}
    case $name in
      '' | *[!A-Za-z0-9_]*) ;; # a further line of some value

      # The program's own import path, and what changes no result.
      PYTHONPATH | PYTHONSAFEPATH | PYTHONHASHSEED | PYTHONUNBUFFERED) ;;
      PYTHONFAULTHANDLER | PYTHONDONTWRITEBYTECODE | PYTHONPYCACHEPREFIX) ;;
      # Devices, processes that train together, compiled programs to keep, messages.
      JAX_PLATFORMS | JAX_PLATFORM_NAME | JAX_*_VISIBLE_DEVICES) ;;
      JAX_COORDINATOR_* | JAX_NUM_PROCESSES | JAX_PROCESS_ID | JAX_LOCAL_DEVICE_IDS) ;;
      JAX_COMPILATION_CACHE_* | JAX_PERSISTENT_CACHE_* | JAX_ENABLE_COMPILATION_CACHE) ;;
      JAX_LOG* | JAX_TRACEBACK_FILTERING | TF_CPP_* | *_NUM_THREADS) ;;

      # The caller's own Python, and libraries made for another C library.
      PYTHON* | LD_* | GCONV_PATH | LOCPATH) printf '%s ' "$name" ;;
      OPENSSL_CONF | OPENSSL_ENGINES | OPENSSL_MODULES) printf '%s ' "$name" ;;
      # Another checkout than the program's, whose commit a package would state.
      GIT_DIR | GIT_WORK_TREE | GIT_INDEX_FILE | GIT_COMMON_DIR) printf '%s ' "$name" ;;
      GIT_OBJECT_DIRECTORY | GIT_NAMESPACE) printf '%s ' "$name" ;;
      # Precision, random numbers, kernels, forms of files.
      JAX_* | FLAX_* | TF_* | TFDS_* | KERAS_* | NPY_* | NUMPY_*) printf '%s ' "$name" ;;
      OPENBLAS_* | OMP_* | KMP_* | MKL_* | PROTOCOL_BUFFERS_*) printf '%s ' "$name" ;;
      MPLBACKEND | MPLCONFIGDIR | MATPLOTLIBRC | JAXTYPING_*) printf '%s ' "$name" ;;
    esac
  done
)

# shellcheck disable=SC2046 # names have no spaces
unset -v PYTHONHOME $(refused)
unset -f refused
