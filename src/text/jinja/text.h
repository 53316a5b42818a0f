// A text that knows of each byte where it comes from: the template's own words, or a value that a
// message brought. Joining, cutting and changing it keep the origins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet::jinja {

/// Where a byte comes from; 0 and up is the number of a message.
enum class Origin : int32_t { kTemplate = -2, kGiven = -1 };

class Text {
 public:
  /// Bytes of one origin, up to `end`; neighbours differ.
  struct Run {
    size_t end = 0;
    Origin origin = Origin::kTemplate;
  };

  Text() = default;
  explicit Text(std::string bytes, Origin origin = Origin::kTemplate);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  const std::vector<Run>& runs() const { return runs_; }

  /// The origin of a byte; of an empty text the template.
  Origin origin_at(size_t byte) const;

  void append(std::string_view bytes, Origin origin);
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
