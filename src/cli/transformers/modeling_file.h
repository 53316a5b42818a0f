// The file by which transformers runs a HypeNet: modeling_hypenet.py beside this header, built into
// the program by cmake/EmbedModeling.cmake.
#pragma once

#include <string_view>

namespace hypenet {

inline constexpr const char* kModelingFile = "modeling_hypenet.py";

/// Python, UTF-8.
std::string_view modeling_file();

}  // namespace hypenet
