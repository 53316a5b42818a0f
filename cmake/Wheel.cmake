# A build by pip (pyproject.toml): libtorch is that of the environment which the package is for, else .venv's; with device code
# where there is nvcc. pip's isolated builds run that environment's interpreter, which knows where its packages lie.
if(SKBUILD)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('platlib'))"
    OUTPUT_VARIABLE site_packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT TORCH_ROOT AND EXISTS ${site_packages}/torch/lib/libtorch_cpu.so)
    set(TORCH_ROOT ${site_packages}/torch CACHE PATH "folder of the installed torch package")
  endif()
  find_program(HYPENET_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  if(HYPENET_NVCC AND NOT DEFINED HYPENET_CUDA)
    set(HYPENET_CUDA ON)
  endif()
endif()
