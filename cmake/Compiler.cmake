# Warnings are errors in our own code; third-party headers are system headers.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# GCC 12 sees overlapping and overlong copies in std::string operator+ where there are none (GCC bug 105651).
set(HYPENET_WARNINGS -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND HYPENET_WARNINGS -Wno-restrict -Wno-stringop-overflow)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${HYPENET_WARNINGS}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra>")
# Loops of ours go through at::parallel_for (TorchTargets.cmake).
if(HYPENET_SANITIZE)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    message(FATAL_ERROR "libFuzzer is clang's: cmake --preset sanitize")
  endif()
  # One build for the tests and the fuzz targets. -O1: unoptimised libtorch templates make the tests five times slower
  # without finding more. -fno-pch-timestamp: ccache asks for it where the precompiled header is the same but for its time.
  add_compile_options(-O1 -gline-tables-only -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=vptr
    -fno-sanitize-recover=all -fno-omit-frame-pointer "SHELL:-Xclang -fno-pch-timestamp")
  add_link_options(-fsanitize=address,undefined)
  add_compile_definitions(HYPENET_PLAIN_KERNELS)  # versions of a function for several processors confuse the sanitizers
endif()
# ccache may serve the precompiled header, and another clone of this repository: paths count from the source folder.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()
