# libtorch is the wheel torch==2.11.0 in .venv (scripts/setup). Its own TorchConfig.cmake insists on a CUDA toolkit,
# so the imported targets are written here: torch_cpu and c10, and with the CUDA pair for the program that wants it.
set(HYPENET_VENV ${CMAKE_SOURCE_DIR}/.venv CACHE PATH "virtual environment that holds the torch wheel")
file(GLOB torch_roots ${HYPENET_VENV}/lib/python3*/site-packages/torch)
set(TORCH_ROOT "${torch_roots}" CACHE PATH "folder of the installed torch package")
if(NOT EXISTS "${TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no libtorch in ${HYPENET_VENV}: run scripts/setup (or `make build`) first")
endif()
get_filename_component(SITE_PACKAGES ${TORCH_ROOT} DIRECTORY)

add_library(hypenet_torch INTERFACE)
target_include_directories(hypenet_torch SYSTEM INTERFACE
  ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
# fmt is the wheel's own, whose headers come before a system's; no library matches them, so they are all of it.
target_compile_definitions(hypenet_torch INTERFACE FMT_HEADER_ONLY=1)
target_link_directories(hypenet_torch INTERFACE ${TORCH_ROOT}/lib)
# The wheel's libraries lean on NVIDIA's, which a CPU machine does not have: the linker does not look into them.
target_link_options(hypenet_torch INTERFACE -Wl,--allow-shlib-undefined)
target_link_libraries(hypenet_torch INTERFACE torch_cpu c10)
# --no-as-needed: torch_cuda registers its kernels when loaded and defines no symbol that we name.
add_library(hypenet_torch_cuda INTERFACE)
target_link_libraries(hypenet_torch_cuda INTERFACE
  hypenet_torch -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed)
set(CMAKE_BUILD_RPATH ${TORCH_ROOT}/lib ${SITE_PACKAGES}/nvidia/cu13/lib)

# One precompiled header for all rooms that use torch: it is most of the compile time.
function(hypenet_precompiled_torch)
  file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp.in "")
  configure_file(${CMAKE_BINARY_DIR}/torch_pch.cpp.in ${CMAKE_BINARY_DIR}/torch_pch.cpp COPYONLY)
  add_library(hypenet_pch OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cpp)
  target_link_libraries(hypenet_pch PRIVATE hypenet_torch)
  target_precompile_headers(hypenet_pch PRIVATE <torch/torch.h>)
endfunction()
hypenet_precompiled_torch()
