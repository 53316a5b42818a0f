// A list in the order of use, and where in it a text stands.
#include "text/stretch_cache.h"

#include <utility>

namespace hypenet {

size_t StretchCache::Entry::bytes() const {
  return stretch.size() + known->ids.size() * sizeof(int32_t) +
         known->begins.size() * sizeof(size_t);
}

StretchCache::Known StretchCache::find(std::string_view stretch) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(stretch);
  if (place == places_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, place->second);
  return place->second->known;
}

void StretchCache::put(std::string_view stretch, Known known) {
  Entry entry{std::string(stretch), std::move(known)};
  const size_t bytes = entry.bytes();
  const std::lock_guard lock(mutex_);
  if (bytes > most_bytes_ || places_.contains(stretch)) return;
  entries_.push_front(std::move(entry));
  places_.emplace(entries_.front().stretch, entries_.begin());
  bytes_ += bytes;
  while (bytes_ > most_bytes_) {
    bytes_ -= entries_.back().bytes();
    places_.erase(entries_.back().stretch);
    entries_.pop_back();
  }
}

size_t StretchCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace hypenet
