// Runs of one origin are found by bisection.
#include "text/jinja/text.h"

#include <algorithm>

namespace hypenet::jinja {

Text::Text(std::string bytes, Origin origin) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), origin});
}

std::vector<Text::Run>::const_iterator Text::run_at(size_t byte) const {
  return std::ranges::upper_bound(runs_, byte, {}, &Run::end);
}

Origin Text::origin_at(size_t byte) const {
  const auto run = run_at(byte);
  return run == runs_.end() ? Origin::kTemplate : run->origin;
}

void Text::append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (runs_.empty() || runs_.back().origin != origin) runs_.push_back({0, origin});
  runs_.back().end = bytes_.size();
}

void Text::append(const Text& other, size_t begin, size_t size) {
  const size_t end = begin + size;
  for (auto run = other.run_at(begin); begin < end; ++run) {
    const size_t part = std::min(run->end, end) - begin;
    append(std::string_view(other.bytes_).substr(begin, part), run->origin);
    begin += part;
  }
}

Text Text::slice(size_t begin, size_t size) const {
  Text result;
  result.append(*this, begin, size);
  return result;
}

}  // namespace hypenet::jinja
