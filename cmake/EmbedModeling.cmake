# Builds src/cli/transformers/modeling_hypenet.py into the program (src/cli/transformers/modeling_file.h).
set(modeling_file ${CMAKE_SOURCE_DIR}/src/cli/transformers/modeling_hypenet.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${modeling_file})
file(READ ${modeling_file} HYPENET_MODELING)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/modeling_file.cpp @ONLY CONTENT "// Written by cmake/EmbedModeling.cmake from src/cli/transformers/modeling_hypenet.py.
#include \"cli/transformers/modeling_file.h\"

namespace hypenet {
std::string_view modeling_file() {
  return R\"python(@HYPENET_MODELING@)python\";
}
}  // namespace hypenet
")
