# Device code and its stand-ins: folders cuda/ and no_cuda/ of the rooms define the same functions, and each program
# takes one of the two. They are object libraries, so that the order of static libraries does not matter.
file(GLOB stand_ins CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*/no_cuda/*.cpp)
add_library(hypenet_no_cuda OBJECT ${stand_ins})
hypenet_options(hypenet_no_cuda TORCH)

if(HYPENET_CUDA)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda REQUIRED)
  # sm_80 code runs on every later GPU too (compiled by the driver beyond sm_90).
  set(CMAKE_CUDA_ARCHITECTURES 80 90a CACHE STRING "GPU architectures of the device kernels")
  set(CMAKE_CUDA_STANDARD 17)  # the newest that CMake 3.25 knows of nvcc 13
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.cu)
  add_library(hypenet_kernels_cuda OBJECT ${kernels})
  target_include_directories(hypenet_kernels_cuda PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(hypenet_kernels_cuda PRIVATE --expt-relaxed-constexpr)
  file(GLOB bridges CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/ops/cuda/*.cpp ${CMAKE_SOURCE_DIR}/src/ranks/cuda/*.cpp)
  add_library(hypenet_ops_cuda OBJECT ${bridges})
  hypenet_options(hypenet_ops_cuda TORCH)
  target_link_libraries(hypenet_ops_cuda PRIVATE CUDA::toolkit)
  # What a program with device code links beside its own objects.
  add_library(hypenet_cuda INTERFACE)
  target_link_libraries(hypenet_cuda INTERFACE hypenet_torch_cuda CUDA::cudart_static)
  set(HYPENET_CUDA_OBJECTS $<TARGET_OBJECTS:hypenet_kernels_cuda> $<TARGET_OBJECTS:hypenet_ops_cuda>)
endif()
