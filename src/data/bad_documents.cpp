// Counting what was left out.
#include "data/bad_documents.h"

#include <fmt/format.h>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int64_t kWarnedShare = 1000;  // one in so many

}  // namespace

OnBadDocument parse_on_bad_document(std::string_view text, std::string_view place) {
  if (text == "fail") return OnBadDocument::kFail;
  HYPENET_CHECK(text == "skip", place, ": expected fail or skip, found \"", text, "\"");
  return OnBadDocument::kSkip;
}

void BadDocuments::add_bad(const std::string& kind, const std::string& error) {
  if (policy_ == OnBadDocument::kFail) throw Error(error);
  if (++bad_ == 1) first_ = error;
  Kind& counted = kinds_[kind];
  if (++counted.count == 1) counted.first = error;
}

void BadDocuments::check_some_are_good() const {
  if (bad_ == 0 || good_ > 0) return;
  throw Error(bad_ == 1 ? first_ : fmt::format("{} (so are all {} documents)", first_, bad_));
}

std::string BadDocuments::summary() const {
  if (bad_ == 0) return "";
  std::string text = fmt::format(
      "{}{} of {} documents left out: ", bad_ > (good_ + bad_) / kWarnedShare ? "warning: " : "",
      bad_, good_ + bad_);
  for (const auto& [kind, counted] : kinds_) {
    if (!text.ends_with(": ")) text += "; ";
    text += fmt::format("{} for {} (first: {})", counted.count, kind, counted.first);
  }
  return text;
}

Json BadDocuments::to_json() const {
  Json json = Json::object();
  for (const auto& [kind, counted] : kinds_) {
    json[kind] = {{"documents", counted.count}, {"first", counted.first}};
  }
  return json;
}

}  // namespace hypenet
