// Python's strings are code points; these walk through UTF-8.
#include "eval/python/python_text.h"

#include "text/unicode.h"

namespace hypenet {
namespace {

/// Where the white space at the end begins.
size_t content_end(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    at += step.size;
    if (!is_python_space(step.code)) end = at;
  }
  return end;
}

size_t content_begin(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = read_utf8(text, at);
    if (!is_python_space(step.code)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

int64_t code_points(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += read_utf8(text, at).size;
  return count;
}

std::string_view strip_end(std::string_view text) { return text.substr(0, content_end(text)); }

std::string_view strip(std::string_view text) {
  text = strip_end(text);
  return text.substr(content_begin(text));
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const Utf8Step first = read_utf8(text, 0);
  return to_utf8(title_case(first.code)) + lower_case(text.substr(first.size));
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (size_t found = text.find(from); found != text.npos; found = text.find(from)) {
    result.append(text.substr(0, found)).append(to);
    text.remove_prefix(found + from.size());
  }
  return result.append(text);
}

int64_t count_words(std::string_view text) {
  int64_t words = 1;
  bool in_space = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    const bool is_space_here = is_python_space(step.code);
    if (is_space_here && !in_space) ++words;
    in_space = is_space_here;
    at += step.size;
  }
  return words;
}

}  // namespace hypenet
