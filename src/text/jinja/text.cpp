// Runs of one origin are found by bisection.
#include "text/jinja/text.h"

#include <algorithm>

namespace hypenet::jinja {

Text::Text(std::string bytes, bool is_given) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), is_given});
}

std::vector<Text::Run>::const_iterator Text::run_at(size_t byte) const {
  return std::ranges::upper_bound(runs_, byte, {}, &Run::end);
}

bool Text::is_given_at(size_t byte) const {
  const auto run = run_at(byte);
  return run != runs_.end() && run->is_given;
}

void Text::append(std::string_view bytes, bool is_given) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (runs_.empty() || runs_.back().is_given != is_given) runs_.push_back({0, is_given});
  runs_.back().end = bytes_.size();
}

void Text::append(const Text& other, size_t begin, size_t size) {
  const size_t end = begin + size;
  for (auto run = other.run_at(begin); begin < end; ++run) {
    const size_t part = std::min(run->end, end) - begin;
    append(std::string_view(other.bytes_).substr(begin, part), run->is_given);
    begin += part;
  }
}

Text Text::slice(size_t begin, size_t size) const {
  Text result;
  result.append(*this, begin, size);
  return result;
}

}  // namespace hypenet::jinja
