// After a whole match the string may begin anew inside itself.
#include "text/stop_finder.h"

#include <algorithm>
#include <utility>

namespace hypenet {

StopFinder::StopFinder(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    Stop stop{std::move(text), {0}};
    for (size_t i = 1; i < stop.text.size(); ++i) {
      step(stop, stop.text[i]);
      stop.borders.push_back(stop.matched);
    }
    stop.matched = 0;
    stops_.push_back(std::move(stop));
  }
}

void StopFinder::step(Stop& stop, char byte) {
  size_t& matched = stop.matched;
  if (matched == stop.text.size()) matched = stop.borders[matched - 1];
  while (matched > 0 && stop.text[matched] != byte) matched = stop.borders[matched - 1];
  if (stop.text[matched] == byte) ++matched;
}

size_t StopFinder::push(char byte) {
  size_t found = 0;
  for (Stop& stop : stops_) {
    step(stop, byte);
    if (stop.matched == stop.text.size()) found = std::max(found, stop.matched);
  }
  return found;
}

std::string StopFinder::found() const {
  std::string longest;
  for (const Stop& stop : stops_) {
    const bool is_whole = stop.matched == stop.text.size();
    if (is_whole && stop.text.size() > longest.size()) longest = stop.text;
  }
  return longest;
}

size_t StopFinder::begun() const {
  size_t longest = 0;
  for (const Stop& stop : stops_) {
    const bool is_whole = stop.matched == stop.text.size();
    const size_t size = is_whole ? stop.borders[stop.matched - 1] : stop.matched;
    longest = std::max(longest, size);
  }
  return longest;
}

void StopFinder::reset() {
  for (Stop& stop : stops_) stop.matched = 0;
}

}  // namespace hypenet
