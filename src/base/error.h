// The exception of the project, of which all others are kinds, and the check that builds its text.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace hypenet {

/// A failure that a user can understand: one line that names the place, what was expected and what
/// was found. Control characters, which come from files and names, become escapes.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text);
};

/// Joins its arguments as an output stream would print them.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace hypenet

/// Throws Error with the joined parts unless the condition holds:
///   HYPENET_CHECK(n == m, path, ": mixer_types has ", n, " entries, num_hidden_layers is ", m);
#define HYPENET_CHECK(condition, ...)                                         \
  do {                                                                        \
    if (!(condition)) throw ::hypenet::Error(::hypenet::concat(__VA_ARGS__)); \
  } while (false)
