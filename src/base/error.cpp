// Texts of errors tell what files hold, whatever it is.
#include "base/error.h"

namespace hypenet {
namespace {

/// Control characters as escapes.
std::string one_line(const std::string& text) {
  std::string line;
  line.reserve(text.size());
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (code >= 0x20 && code != 0x7F) {
      line += character;
    } else if (character == '\n') {
      line += "\\n";
    } else if (character == '\r') {
      line += "\\r";
    } else if (character == '\t') {
      line += "\\t";
    } else {
      constexpr const char* kDigits = "0123456789abcdef";
      line += {'\\', 'x', kDigits[code >> 4], kDigits[code & 15]};
    }
  }
  return line;
}

}  // namespace

Error::Error(const std::string& text) : std::runtime_error(one_line(text)) {}

}  // namespace hypenet
