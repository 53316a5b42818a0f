# Constrained decoding: xgrammar (Apache-2.0, its C++ alone), from the source that scripts/setup unpacks; without it the
# server refuses to constrain. It is as slow to compile as a room of ours, and of no interest to our sanitizers.
set(HYPENET_XGRAMMAR ${HYPENET_VENV}/src/xgrammar CACHE PATH "folder of xgrammar's source package")
if(EXISTS ${HYPENET_XGRAMMAR}/include/xgrammar/xgrammar.h AND NOT HYPENET_SANITIZE)
  string(APPEND HYPENET_EXCLUDED_SOURCES "|/constraint_none\\.cpp$")
  set(HYPENET_XGRAMMAR_TARGET hypenet_xgrammar)
  file(GLOB_RECURSE sources ${HYPENET_XGRAMMAR}/cpp/*.cc)
  list(FILTER sources EXCLUDE REGEX "/cpp/tvm_ffi/")
  add_library(hypenet_xgrammar STATIC ${sources})
  target_compile_options(hypenet_xgrammar PRIVATE -O2 -w -Wno-error)
  target_include_directories(hypenet_xgrammar SYSTEM PUBLIC ${HYPENET_XGRAMMAR}/include ${HYPENET_XGRAMMAR}/3rdparty/dlpack/include
    PRIVATE ${HYPENET_XGRAMMAR}/3rdparty/picojson)
  target_compile_definitions(hypenet_xgrammar PRIVATE XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0 XGRAMMAR_LOG_CUSTOMIZE=1)
else()
  set(HYPENET_XGRAMMAR_TARGET "")
  string(APPEND HYPENET_EXCLUDED_SOURCES "|/constraint_xgrammar\\.cpp$")
endif()
