// Strings are skipped with what is escaped in them; all else is the parser's to judge.
#include "base/python_json.h"

#include "base/file_kind.h"
#include "base/files.h"

namespace hypenet {

std::string with_quoted_infinity(std::string_view text) {
  constexpr std::string_view kInfinity = "Infinity";
  std::string quoted;
  quoted.reserve(text.size());
  bool is_in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_in_string && text.substr(i).starts_with(kInfinity)) {
      quoted += concat('"', kInfinity, '"');
      i += kInfinity.size() - 1;
      continue;
    }
    if (is_in_string && text[i] == '\\' && i + 1 < text.size()) {
      quoted += text[i++];
    } else if (text[i] == '"') {
      is_in_string = !is_in_string;
    }
    quoted += text[i];
  }
  return quoted;
}

Json read_python_json(const std::filesystem::path& path) {
  return read_as("JSON", "JSON", path,
                 [&] { return parse_json(with_quoted_infinity(read_file(path)), path.string()); });
}

}  // namespace hypenet
