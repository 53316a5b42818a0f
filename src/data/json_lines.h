// Files of JSON lines that are none.
#pragma once

#include <string>
#include <string_view>

namespace hypenet {

/// Asked once line 1 is bad: throws Error when it shows what the file is instead, so that its lines
/// do not count as bad documents (a Git LFS pointer, an HTML page, a JSON array ...).
void check_first_line(std::string_view line, const std::string& file);

/// Whether a line is white space alone; such lines are passed over.
bool is_blank(std::string_view line);

}  // namespace hypenet
