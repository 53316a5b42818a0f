// Errors of libraries are put into the words of this program's own.
#include "cli/failure.h"

#include <filesystem>
#include <iostream>
#include <new>

#include "base/error.h"

namespace hypenet {
namespace {

/// "PATH: cannot open directory: Permission denied"; libstdc++ has "filesystem error: " before it
/// and the paths in brackets behind.
std::string readable(const std::filesystem::filesystem_error& error) {
  const std::string text = error.what(), reason = error.code().message();
  const size_t begin = text.find("cannot ");
  const bool is_told = begin != std::string::npos && begin < text.find('[');
  const std::string what =
      is_told ? text.substr(begin, text.find(": " + reason, begin) - begin) : "cannot look at it";
  const std::string other = error.path2().empty() ? "" : concat(" (", error.path2().string(), ")");
  return concat(error.path1().string(), ": ", what, other, ": ", reason);
}

/// Allocators of libtorch report exhausted memory in their own words.
bool is_out_of_memory(std::string_view text) {
  return text.find("can't allocate memory") != std::string_view::npos ||
         text.find("out of memory") != std::string_view::npos;
}

}  // namespace

std::string failure_text(const std::exception& error) {
  if (const auto* of_files = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return readable(*of_files);
  const bool is_short =
      dynamic_cast<const std::bad_alloc*>(&error) || is_out_of_memory(error.what());
  return is_short ? "out of memory" : error.what();
}

int fail(std::string_view text, int code) {
  std::cerr.clear();  // of a rank that is quiet (cli/ranks.h)
  // Errors of libraries carry stack traces in the lines after the first.
  std::cerr << "hypenet: " << text.substr(0, text.find('\n')) << std::endl;
  return code;
}

}  // namespace hypenet
