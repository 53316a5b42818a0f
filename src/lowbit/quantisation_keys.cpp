// A missing key is told apart from one of another kind, which read_fields refuses.
#include "lowbit/quantisation_keys.h"

#include <algorithm>
#include <utility>

#include "base/alternatives.h"

namespace hypenet {

QuantisationKeys::QuantisationKeys(Json json, std::string place)
    : json_(std::move(json)), place_(std::move(place)) {
  HYPENET_CHECK(json_.is_object(), place_, ": expected an object, found ", json_kind(json_));
}

bool QuantisationKeys::has(const std::string& key) const {
  return json_.contains(key) && !json_.at(key).is_null();
}

const Json& QuantisationKeys::value(const std::string& key) const {
  HYPENET_CHECK(has(key), at(key), ": expected a value, found none");
  return json_.at(key);
}

std::string QuantisationKeys::one_of(const std::string& key, const std::vector<std::string>& known,
                                     const std::string& otherwise) const {
  const auto found = get<std::string>(key, otherwise);
  HYPENET_CHECK(std::ranges::find(known, found) != known.end(), at(key), ": expected ",
                alternatives(known), ", found ", found.empty() ? "none" : found);
  return found;
}

int64_t QuantisationKeys::group(const std::string& key) const {
  const auto size = get<int64_t>(key);
  HYPENET_CHECK(size > 0 || size == -1, at(key), ": expected a size above 0, or -1, found ", size);
  return size == -1 ? 0 : size;
}

int64_t QuantisationKeys::bits(const std::string& key, const std::vector<int64_t>& known) const {
  const auto found = get<int64_t>(key);
  std::vector<std::string> names;
  names.reserve(known.size());
  for (const int64_t bits : known) names.push_back(std::to_string(bits));
  HYPENET_CHECK(std::ranges::find(known, found) != known.end(), at(key), ": expected ",
                alternatives(names), ", found ", found);
  return found;
}

}  // namespace hypenet
