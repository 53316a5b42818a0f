# libtorch is the wheel torch==2.11.0 in .venv (scripts/setup).
set(HYPENET_VENV ${CMAKE_SOURCE_DIR}/.venv CACHE PATH "virtual environment that holds the torch wheel")
file(GLOB torch_roots ${HYPENET_VENV}/lib/python3*/site-packages/torch)
set(TORCH_ROOT "${torch_roots}" CACHE PATH "folder of the installed torch package")
if(NOT EXISTS "${TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no libtorch in ${HYPENET_VENV}: run scripts/setup (or `make build`) first")
endif()
get_filename_component(SITE_PACKAGES ${TORCH_ROOT} DIRECTORY)

include(TorchTargets)
hypenet_torch_targets(hypenet_ ${TORCH_ROOT})
set(CMAKE_BUILD_RPATH ${HYPENET_TORCH_RPATH})

# One precompiled header for all rooms that use torch, and one for their tests: it is most of the compile time. What
# <torch/torch.h> has beyond these would be instantiated anew in every source, used or not.
function(hypenet_precompiled_torch name)  # further headers ...
  file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp.in "")
  configure_file(${CMAKE_BINARY_DIR}/torch_pch.cpp.in ${CMAKE_BINARY_DIR}/torch_pch.cpp COPYONLY)
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cpp)
  target_link_libraries(${name} PRIVATE hypenet_torch)
  target_precompile_headers(${name} PRIVATE <torch/types.h> <torch/utils.h> <torch/autograd.h> <torch/cuda.h> <torch/nn/pimpl.h> ${ARGN})
endfunction()
hypenet_precompiled_torch(hypenet_pch)
