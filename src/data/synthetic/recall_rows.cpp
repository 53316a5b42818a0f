// A row is planned in numbers, drafted as pieces of tokens, and the pieces are hidden in prose.
#include "data/synthetic/recall_rows.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "base/error.h"
#include "data/synthetic/needle_sentences.h"
#include "data/synthetic/recall_wordings.h"

namespace hypenet {

namespace {

// For each stretch of a row; a row shorter than two of them is one.
constexpr int64_t kStretch = 4096;
constexpr int64_t kMostFacts = 8;
constexpr int64_t kMostQuestions = 4;
constexpr int64_t kMostInner = 2;  // questions within the text
constexpr int64_t kMostDrafts = 100;
constexpr std::array<int64_t, 6> kDigits = {4, 5, 6, 7, 7, 8};
constexpr int64_t kShortestSpan = 15, kLongestSpan = 60;  // of prose that is repeated
constexpr int64_t kSentenceReach = 40;  // tokens in which a sentence's end is looked for

/// Shares of rows, or of what a row holds.
constexpr double kMixedFrames = 0.2;
constexpr double kSameWords = 0.5, kSameNoun = 0.25;  // of the rows of one frame; of those
constexpr double kInnerQuestions = 1.0 / 3;
constexpr double kAnnounced = 1.0 / 3;
constexpr double kListed = 0.1;
constexpr double kOwnLines = 0.3;
constexpr double kRepeated = 0.2;
constexpr double kSingleNoun = 0.4, kHyphenated = 0.4;  // keys; the others are two nouns
constexpr double kOwnQuestion = 0.4;  // a question of the frame, not a general one

using Prose = std::function<std::vector<int32_t>(int64_t n)>;

template <class Items>
const auto& any(const Items& items, Random& random) {
  return items[static_cast<size_t>(random.below(std::ssize(items)))];
}

void append(std::vector<int32_t>& ids, std::span<const int32_t> more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

void append(RecallRow& row, const RecallPiece& piece) {
  for (const AnswerSpan& answer : piece.answers) {
    row.answers.push_back({std::ssize(row.ids) + answer.start, answer.length});
  }
  append(row.ids, piece.ids);
}

/// Nouns of a row, each given once.
class NounDraw {
 public:
  NounDraw(const std::vector<std::string>& nouns, Random& random)
      : nouns_(nouns), random_(random) {}

  std::string next() {
    while (true) {
      const int64_t noun = random_.below(std::ssize(nouns_));
      if (std::ranges::find(used_, noun) != used_.end()) continue;
      used_.push_back(noun);
      return nouns_[static_cast<size_t>(noun)];
    }
  }

  /// From now on one of the two nouns of every key is the same.
  void share_noun() { shared_ = next(); }

  std::string key() {
    const double draw = random_.uniform();
    if (!shared_.empty()) {
      const char* const between = draw < kHyphenated ? "-" : " ";
      return random_.below(2) == 0 ? concat(shared_, between, next())
                                   : concat(next(), between, shared_);
    }
    if (draw < kSingleNoun) return next();
    return pair(draw < kSingleNoun + kHyphenated ? "-" : " ");
  }

  std::string word() { return random_.below(3) > 0 ? next() : pair("-"); }

 private:
  std::string pair(std::string_view between) {
    const std::string first = next();
    return concat(first, between, next());
  }

  const std::vector<std::string>& nouns_;
  Random& random_;
  std::vector<int64_t> used_;
  std::string shared_;
};

std::string draw_number(Random& random) {
  std::string digits(1, static_cast<char>('1' + random.below(9)));
  for (int64_t i = any(kDigits, random); i > 1; --i) {
    digits += static_cast<char>('0' + random.below(10));
  }
  return digits;
}

std::vector<RecallFact> draw_facts(int64_t count, bool is_mixed, bool shares_noun,
                                   const std::vector<std::string>& nouns, Random& random) {
  NounDraw words(nouns, random);
  if (shares_noun) words.share_noun();
  std::vector<RecallFact> facts;
  const RecallFrame* frame = &any(recall_frames(), random);
  while (std::ssize(facts) < count) {
    if (is_mixed) frame = &any(recall_frames(), random);
    RecallFact fact = {frame, words.key(), {}};
    const auto is_taken = [&](const RecallFact& other) { return other.value == fact.value; };
    do {
      fact.value = random.uniform() < frame->word_share ? words.word() : draw_number(random);
    } while (std::ranges::any_of(facts, is_taken));
    facts.push_back(std::move(fact));
  }
  return facts;
}

std::string_view draw_question(const RecallFrame& frame, Random& random) {
  if (random.uniform() < kOwnQuestion) return any(frame.questions, random);
  return any(recall_questions(), random);
}

/// 0 .. count - 1 in random order.
std::vector<size_t> shuffled(size_t count, Random& random) {
  std::vector<size_t> order(count);
  for (size_t i = 0; i < count; ++i) {
    order[i] = i;
    std::swap(order[i], order[static_cast<size_t>(random.below(static_cast<int64_t>(i) + 1))]);
  }
  return order;
}

int64_t max_tokens(std::span<const std::string_view> wordings, const RecallFact& fact,
                   const Tokenizer& tokenizer) {
  int64_t most = 0;
  for (const std::string_view wording : wordings) {
    most = std::max<int64_t>(most, std::ssize(fill(wording, fact, tokenizer).ids));
  }
  return most;
}

}  // namespace

struct RecallRows::Plan {
  int64_t facts = 1, questions = 1, inner = 0;  // inner: questions within the text
  bool is_mixed = false, is_announced = false, is_listed = false;
  bool has_same_words = false, has_same_noun = false;

  /// The same with less in it; false when it holds one fact and one question already.
  bool shrink() {
    if (facts == 1 && !is_announced) return false;
    facts = (facts + 1) / 2;
    questions = std::min(questions, facts);
    inner = std::min(inner, facts - questions);
    is_announced = false;
    is_listed = is_listed && facts > 1;
    return true;
  }
};

struct RecallRows::Draft {
  std::vector<RecallPiece> facts;  // in the order of the text
  struct Inner {
    size_t fact;
    RecallPiece piece;
  };
  std::vector<Inner> inner;
  RecallPiece announcement;
  std::vector<RecallPiece> questions;

  int64_t tokens() const {
    int64_t sum = std::ssize(announcement.ids);
    for (const RecallPiece& fact : facts) sum += std::ssize(fact.ids);
    for (const Inner& question : inner) sum += std::ssize(question.piece.ids);
    for (const RecallPiece& question : questions) sum += std::ssize(question.ids);
    return sum;
  }
};

RecallRows::RecallRows(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      nouns_(needle_key_nouns(tokenizer, NeedleKeys::kTraining)),
      new_line_(tokenizer.encode("\n")) {
  HYPENET_CHECK(std::ssize(nouns_) >= 4 * kMostFacts,
                "recall rows: expected a tokenizer that writes at least ", 4 * kMostFacts,
                " nouns in a few tokens, found ", nouns_.size());
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const auto is_any = [&](size_t place, std::string_view of) {
      return !bytes.empty() && of.find(bytes[place]) != std::string_view::npos;
    };
    ends_sentence_.push_back(is_any(bytes.size() - 1, ".!?"));
    begins_line_.push_back(is_any(0, "\n"));
    begins_apart_.push_back(is_any(0, " \n"));
  }

  const auto tokens = [&](const std::string& noun) { return tokenizer.encode(" " + noun).size(); };
  const std::string longest = *std::ranges::max_element(nouns_, {}, tokens);
  const std::string pair = concat(longest, "-", longest);
  for (const RecallFrame& frame : recall_frames()) {
    for (const std::string& value : {pair, std::string("58213764")}) {
      const RecallFact fact = {&frame, pair, value};
      int64_t fact_tokens = max_tokens(frame.facts, fact, tokenizer);
      fact_tokens += 2 * std::ssize(new_line_);
      const int64_t question_tokens = std::max(max_tokens(frame.questions, fact, tokenizer),
                                               max_tokens(recall_questions(), fact, tokenizer));
      shortest_length_ = std::max(shortest_length_, fact_tokens + question_tokens);
    }
  }
}

RecallRows::Plan RecallRows::draw_plan(int64_t length, Random& random) const {
  const int64_t stretches = std::max<int64_t>(1, length / kStretch);
  const int64_t nouns_for =
      std::ssize(nouns_) / 4;  // facts: two nouns of the key, two of the value
  Plan plan;
  plan.facts = 1 + random.below(std::min(kMostFacts * stretches, nouns_for));
  plan.questions = 1 + random.below(std::min(kMostQuestions * stretches, plan.facts));
  if (random.uniform() < kInnerQuestions) plan.inner = 1 + random.below(kMostInner * stretches);
  plan.inner = std::min(plan.inner, plan.facts - plan.questions);
  plan.is_mixed = random.uniform() < kMixedFrames;
  plan.is_announced = random.uniform() < kAnnounced;
  plan.is_listed = random.uniform() < kListed && plan.facts > 1;
  plan.has_same_words = !plan.is_mixed && random.uniform() < kSameWords;
  plan.has_same_noun = plan.has_same_words && random.uniform() < kSameNoun;
  return plan;
}

RecallRows::Draft RecallRows::draft(const Plan& plan, Random& random) const {
  const std::vector<RecallFact> facts =
      draw_facts(plan.facts, plan.is_mixed && !plan.is_listed, plan.has_same_noun, nouns_, random);
  Draft draft;
  const bool in_own_lines = random.uniform() < kOwnLines;
  std::string_view wording;
  for (const RecallFact& fact : facts) {
    if (wording.empty() || !plan.has_same_words) wording = any(fact.frame->facts, random);
    draft.facts.push_back(
        fill(in_own_lines ? concat("\n", wording, "\n") : concat(" ", wording), fact, tokenizer_));
  }
  const auto order = shuffled(facts.size(), random);
  const auto ask = [&](size_t fact) {
    return fill(draw_question(*facts[fact].frame, random), facts[fact], tokenizer_);
  };
  for (int64_t i = 0; i < plan.inner; ++i) {
    const size_t fact = order[order.size() - 1 - static_cast<size_t>(i)];
    draft.inner.push_back({fact, ask(fact)});
  }
  if (plan.is_listed) {
    draft.questions.push_back(fill(any(recall_list_questions(), random), facts[0], tokenizer_));
    for (const RecallFact& fact : facts) {
      draft.questions.push_back(fill(kRecallListLine, fact, tokenizer_));
    }
  } else {
    for (int64_t i = 0; i < plan.questions; ++i) {
      draft.questions.push_back(ask(order[static_cast<size_t>(i)]));
    }
  }
  if (plan.is_announced) {
    const bool is_of_one_frame = std::ranges::all_of(
        facts, [&](const RecallFact& fact) { return fact.frame == facts[0].frame; });
    RecallFrame mixed;
    mixed.things = kMixedThings;
    const RecallFact named = {is_of_one_frame ? facts[0].frame : &mixed, {}, {}};
    draft.announcement = fill(any(recall_announcements(), random), named, tokenizer_);
  }
  return draft;
}

std::vector<int32_t> RecallRows::haystack(int64_t n, Random& random, const Prose& prose) const {
  std::vector<int32_t> text;
  if (n == 0) return text;
  if (random.uniform() < kRepeated) {
    const int64_t span = kShortestSpan + random.below(kLongestSpan - kShortestSpan + 1);
    std::vector<int32_t> repeated = prose(std::min(span, n));
    if (random.below(2) == 0) append(repeated, new_line_);
    while (std::ssize(text) < n) append(text, repeated);
    text.resize(static_cast<size_t>(n));
  } else {
    text = prose(n);
  }
  HYPENET_CHECK(std::ssize(text) == n, "recall row: expected ", n, " tokens of prose, found ",
                text.size());
  return text;
}

/// The end of a sentence or line where one is near, else of a word; `place` where there is neither.
int64_t RecallRows::settle(int64_t place, const std::vector<int32_t>& prose) const {
  const auto is = [&](const std::vector<bool>& property, int64_t at) {
    const auto id = static_cast<size_t>(prose[static_cast<size_t>(at)]);
    return id < property.size() && property[id];
  };
  const int64_t end = std::min(place + kSentenceReach, std::ssize(prose));
  int64_t word = -1;
  for (int64_t i = place; i < end; ++i) {
    if (is(begins_line_, i)) return i;
    const bool is_followed_apart = i + 1 == std::ssize(prose) || is(begins_apart_, i + 1);
    if (is_followed_apart && is(ends_sentence_, i)) return i + 1;
    if (is_followed_apart && word < 0) word = i + 1;
  }
  return word < 0 ? place : word;
}

RecallRow RecallRows::hide(const Draft& draft, const std::vector<int32_t>& prose,
                           Random& random) const {
  struct Placed {
    int64_t place;
    const RecallPiece* piece;
    bool is_question;
  };
  std::vector<Placed> pieces;
  std::vector<int64_t> places;
  for (size_t i = 0; i < draft.facts.size(); ++i) {
    places.push_back(settle(random.below(std::ssize(prose) + 1), prose));
  }
  std::ranges::sort(places);
  for (size_t i = 0; i < draft.facts.size(); ++i) {
    pieces.push_back({places[i], &draft.facts[i], false});
  }
  for (const Draft::Inner& question : draft.inner) {
    const int64_t from = places[question.fact];
    const int64_t place = settle(from + random.below(std::ssize(prose) + 1 - from), prose);
    pieces.push_back({place, &question.piece, true});
  }
  std::ranges::stable_sort(pieces, {}, &Placed::place);

  RecallRow row;
  append(row, draft.announcement);
  int64_t done = 0;
  for (const Placed& piece : pieces) {
    append(row.ids, std::span(prose).subspan(static_cast<size_t>(done),
                                             static_cast<size_t>(piece.place - done)));
    if (piece.is_question) {
      append(row, *piece.piece);
    } else {
      append(row.ids, piece.piece->ids);  // a fact's value is no answer
    }
    done = piece.place;
  }
  append(row.ids, std::span(prose).subspan(static_cast<size_t>(done)));
  for (const RecallPiece& question : draft.questions) append(row, question);
  return row;
}

RecallRow RecallRows::row(int64_t length, Random& random, const Prose& prose) const {
  HYPENET_CHECK(length >= shortest_length_, "recall row: expected a length of at least ",
                shortest_length_, " tokens, found ", length);
  // Two thirds at most, so that some prose is left; what needs more than the shortest is shrunk.
  const int64_t room = std::max(shortest_length_, 2 * length / 3);
  Plan plan = draw_plan(length, random);
  Draft made = draft(plan, random);
  // The shortest length counts a noun as it is behind a space. Behind a hyphen or at a line's start
  // some take more tokens: seldom too many, and another draw has others.
  for (int64_t drafts = 1; made.tokens() > room && drafts < kMostDrafts; ++drafts) {
    if (!plan.shrink() && made.tokens() <= length) break;
    made = draft(plan, random);
  }
  HYPENET_CHECK(made.tokens() <= length, "recall row: expected facts and questions of at most ",
                length, " tokens, found ", made.tokens());
  return hide(made, haystack(length - made.tokens(), random, prose), random);
}

}  // namespace hypenet
