// A text that knows of each byte where it comes from: the template's own words, or a value that a
// message brought. Joining, cutting and changing it keep the marks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet::jinja {

class Text {
 public:
  /// Bytes of one origin, up to `end`; neighbours differ.
  struct Run {
    size_t end = 0;
    bool is_given = false;  // by a message
  };

  Text() = default;
  explicit Text(std::string bytes, bool is_given = false);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  const std::vector<Run>& runs() const { return runs_; }

  /// The origin of a byte; of an empty text the template's.
  bool is_given_at(size_t byte) const;

  void append(std::string_view bytes, bool is_given);
  void append(const Text& other) { append(other, 0, other.size()); }
  /// `size` bytes of the other text from `begin` on, which it must have.
  void append(const Text& other, size_t begin, size_t size);

  Text slice(size_t begin, size_t size) const;

 private:
  std::vector<Run>::const_iterator run_at(size_t byte) const;

  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace hypenet::jinja
