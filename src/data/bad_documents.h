// Documents that cannot be read: one of them must not end a run over millions, and none may be
// lost without a word.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/json.h"

namespace hypenet {

/// What a document that cannot be read does to the reading of all.
enum class OnBadDocument { kFail, kSkip };

/// "fail" or "skip". Throws Error naming `place` for another word.
OnBadDocument parse_on_bad_document(std::string_view text, std::string_view place);

/// How many documents were good, and how many were left out for what.
class BadDocuments {
 public:
  explicit BadDocuments(OnBadDocument policy = OnBadDocument::kSkip) : policy_(policy) {}

  void add_good() { ++good_; }

  /// A document left out: its kind ("a lone surrogate"), and the line that an error would be.
  /// Throws that as Error when the policy is to fail.
  void add_bad(const std::string& kind, const std::string& error);

  int64_t good() const { return good_; }
  int64_t bad() const { return bad_; }

  /// Throws Error with the first bad document's line when there are bad ones and no good one.
  void check_some_are_good() const;

  /// "3 of 5,000 documents left out: 2 for a lone surrogate (first: a.jsonl:7: ...), ..."; it
  /// begins with "warning: " when they are over 0.1 %. Empty when none is bad.
  std::string summary() const;

  /// {"a lone surrogate": {"documents": 2, "first": "a.jsonl:7: ..."}}, for records.
  Json to_json() const;

 private:
  struct Kind {
    int64_t count = 0;
    std::string first;
  };

  OnBadDocument policy_;
  int64_t good_ = 0, bad_ = 0;
  std::string first_;
  std::map<std::string, Kind> kinds_;
};

}  // namespace hypenet
