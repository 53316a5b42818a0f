# libtorch of a torch wheel as targets PREFIXtorch (torch_cpu, c10) and PREFIXtorch_cuda (those and the CUDA pair), for the
# build and for the installed package. The wheel's own TorchConfig.cmake insists on a CUDA toolkit.
function(hypenet_torch_targets prefix root)
  get_filename_component(site_packages ${root} DIRECTORY)
  add_library(${prefix}torch INTERFACE ${ARGN})
  target_include_directories(${prefix}torch SYSTEM INTERFACE
    ${root}/include ${root}/include/torch/csrc/api/include)
  # fmt is the wheel's own, whose headers come before a system's; no library matches them, so they are all of it.
  target_compile_definitions(${prefix}torch INTERFACE FMT_HEADER_ONLY=1)
  target_link_directories(${prefix}torch INTERFACE ${root}/lib)
  # The wheel's libraries lean on NVIDIA's, which a CPU machine does not have: the linker does not look into them.
  target_link_options(${prefix}torch INTERFACE -Wl,--allow-shlib-undefined)
  # at::parallel_for is a header's, and runs on one thread where OpenMP is off. The runtime is the wheel's own: a second one
  # would not know torch::set_num_threads.
  # clang would need a runtime and header of its own: only the sanitizers' build is by it.
  target_compile_options(${prefix}torch INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fopenmp>)
  file(GLOB openmp ${root}/lib/libgomp*.so*)
  target_link_libraries(${prefix}torch INTERFACE torch_cpu c10 ${openmp})
  # --no-as-needed: torch_cuda registers its kernels when loaded and defines no symbol that we name.
  add_library(${prefix}torch_cuda INTERFACE ${ARGN})
  target_link_libraries(${prefix}torch_cuda INTERFACE
    ${prefix}torch -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed)
  set(HYPENET_TORCH_RPATH ${root}/lib ${site_packages}/nvidia/cu13/lib PARENT_SCOPE)
endfunction()
