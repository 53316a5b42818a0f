// Texts that several subjects put together.
#include "eval/ruler/subjects.h"

namespace hypenet {

std::string numbered(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += ' ';
    text += std::to_string(i + 1) + ". " + words[i];
  }
  return text;
}

std::string python_list(const std::vector<std::string>& texts) {
  std::string list = "[";
  for (const std::string& text : texts) {
    if (list.size() > 1) list += ", ";
    const bool is_double = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char quote = is_double ? '"' : '\'';
    list += quote;
    for (const char c : text) {
      if (c == '\n') {
        list += "\\n";
        continue;
      }
      if (c == quote || c == '\\') list += '\\';
      list += c;
    }
    list += quote;
  }
  return list + "]";
}

}  // namespace hypenet
