// What runs in a step. On a GPU the host queues a step before it reads the tokens of the one
// before: a sequence that ended there computes one token too many, which nobody sees.
#include <algorithm>

#include "base/error.h"
#include "base/seconds.h"
#include "engine/core.h"

namespace hypenet {
namespace {

using Clock = std::chrono::steady_clock;

/// Up to where the next piece of its prompt goes.
int64_t end_of_piece(const Sequence& sequence) {
  const auto cut = std::ranges::upper_bound(sequence.cuts, sequence.prefilled);
  return cut == sequence.cuts.end() ? sequence.prompt_tokens() : *cut;
}

bool is_cut(const Sequence& sequence, int64_t position) {
  return std::ranges::binary_search(sequence.cuts, position);
}

bool is_marked(const Sequence& sequence, int64_t position) {
  return std::ranges::any_of(sequence.request.marks, [&](const PromptMark& mark) {
    return mark.position == position && mark.kind != PromptMark::Kind::kTurn;
  });
}

/// Where the last question begins: the turn before the answer's.
int64_t last_question(const Sequence& sequence) {
  int64_t last = sequence.prompt_tokens(), before = last;
  for (const PromptMark& mark : sequence.request.marks) {
    if (mark.kind == PromptMark::Kind::kTurn) before = std::exchange(last, mark.position);
  }
  return before;
}

}  // namespace

/// Pieces of prompts, a chunk's tokens in all, in turns: each round goes over all that wait,
/// the shortest rest first.
void Engine::Core::prefill() {
  const bool decode_waits =
      std::ranges::any_of(sequences, [](const auto& one) { return one.second.decodes(); });
  if (decode_waits && !share.allows_prefill()) return;
  const auto began = Clock::now();
  int64_t left = options.prefill_chunk;
  while (Sequence* sequence = next_reader(left)) {
    piece_began = began;
    const int64_t number = round.front();
    round.pop_front();
    const int64_t before = sequence->prefilled;
    read_piece(number, *sequence);
    left -= sequence->prefilled - before;
  }
  if (piece_began) share.begins_prefill();
}

/// Whether what it goes on from has come from the host; waits on the device when nobody else can
/// use the time.
bool Engine::Core::is_here(const Sequence& sequence) {
  if (memory->side().is_done(sequence.ticket)) return true;
  const bool others_run = std::ranges::any_of(sequences, [&](const auto& one) {
    const Sequence& other = one.second;
    return other.decodes() || (other.is_reading() && !other.is_paused && !other.is_stepped &&
                               memory->side().is_done(other.ticket));
  });
  if (others_run) return false;
  memory->side().join(sequence.ticket);
  return true;
}

/// The first of the round, if its piece is within what is left of this step.
Sequence* Engine::Core::next_reader(int64_t left) {
  const auto waits = [&](const Sequence& sequence) {
    return sequence.is_reading() && !sequence.is_paused && !sequence.is_stepped &&
           is_here(sequence);
  };
  while (!round.empty()) {
    const auto place = sequences.find(round.front());
    if (place != sequences.end() && waits(place->second)) break;
    round.pop_front();
  }
  if (round.empty()) {
    std::vector<std::pair<int64_t, int64_t>> rests;  // and numbers
    for (const auto& [number, sequence] : sequences) {
      if (!waits(sequence)) continue;
      rests.emplace_back(sequence.prompt_tokens() - sequence.prefilled, number);
    }
    std::ranges::sort(rests);
    for (const auto& [rest, number] : rests) round.push_back(number);
  }
  if (round.empty()) return nullptr;
  Sequence& sequence = sequences.at(round.front());
  return end_of_piece(sequence) - sequence.prefilled <= left ? &sequence : nullptr;
}

void Engine::Core::read_piece(int64_t number, Sequence& sequence) {
  const int64_t past = sequence.prefilled, end = end_of_piece(sequence);
  const Tensor residual =
      runner->prefill(*sequence.lease, sequence.prompt.narrow(0, past, end - past), past);
  sequence.prefilled = end;
  counted.prefilled_tokens += end - past;
  const bool is_last = end == sequence.prompt_tokens();
  const bool is_on_grid = is_cut(sequence, end);
  if (is_on_grid || (is_last && sequence.mode == ReuseMode::kNearest)) {
    keep(sequence, end, is_on_grid);
  }
  tell_progress(number, sequence);
  if (!is_last) return;
  begin_answer(number, sequence, residual);
  start_twins(number, residual);
}

void Engine::Core::tell_progress(int64_t number, const Sequence& sequence) {
  if (!sequence.request.tells_progress) return;
  events.push_back({.sequence = number,
                    .read = sequence.prefilled,
                    .report = std::make_shared<PromptReport>(*sequence.report)});
}

/// Keeps what the sequence's memory holds up to `position`.
void Engine::Core::keep(Sequence& sequence, int64_t position, bool is_on_grid) {
  if (sequence.place == nullptr || position <= sequence.place->end) return;
  const auto& prompt = sequence.request.prompt;
  std::vector<int32_t> tokens;
  for (int64_t i = sequence.place->end; i < position; ++i) {
    const int64_t in_answer = i - sequence.prompt_tokens();
    tokens.push_back(in_answer < 0 ? prompt[static_cast<size_t>(i)]
                                   : sequence.answer[static_cast<size_t>(in_answer)]);
  }
  // One that went on from the middle of a piece did not read it as one.
  const bool is_whole = sequence.report->reused <= sequence.place->end;
  sequence.place = cache->keep(sequence.place,
                               {.tokens = tokens,
                                .is_exact = is_on_grid && is_whole,
                                .is_marked = is_on_grid && is_marked(sequence, position),
                                .thinning_keeps = sequence.worth_keeping,
                                .question = last_question(sequence)},
                               *sequence.lease);
}

void Engine::Core::begin_answer(int64_t number, Sequence& sequence, const Tensor& residual) {
  sequence.launched = 1;
  sequence.prompt = Tensor();
  launch({.sequences = {number},
          .chosen = runner->begin_answer(sequence.lease->slot, sequence.prompt_tokens(), residual,
                                         sequence.request.options.mask.get()),
          .queued = Clock::now()});
}

/// The next token of a prompt that goes through the steps; whether it is the last one. What the
/// steps before choose is dropped, so the choosing starts there.
bool Engine::Core::feed(Sequence& sequence, std::vector<Runner::Fed>& fed) {
  const int64_t position = sequence.prefilled++;
  fed.push_back({.slot = sequence.lease->slot,
                 .position = position,
                 .token = sequence.request.prompt[static_cast<size_t>(position)]});
  ++counted.prefilled_tokens;
  if (sequence.prefilled < sequence.prompt_tokens()) return false;
  set_sampling(sequence);
  return true;
}

void Engine::Core::decode() {
  std::vector<int64_t> numbers, slots;
  std::vector<Runner::Fed> fed;
  for (auto& [number, sequence] : sequences) {
    const bool is_fed = sequence.is_stepped && sequence.is_reading() && !sequence.is_paused;
    if (!is_fed && (!sequence.decodes() || !has_room_for_next(sequence))) continue;
    const bool is_answer = !is_fed || feed(sequence, fed);
    sequence.launched += is_answer ? 1 : 0;
    numbers.push_back(is_answer ? number : kNobody), slots.push_back(sequence.lease->slot);
  }
  if (numbers.empty()) return;
  if (!fed.empty()) runner->feed(fed);
  const auto queued = piece_began.value_or(Clock::now());
  const bool follows_piece = std::exchange(piece_began, std::nullopt).has_value();
  launch({.sequences = numbers,
          .chosen = decode(numbers, slots),
          .queued = queued,
          .is_decode = true,
          .has_piece = follows_piece});
}

/// What may come next in answers with masks depends on the tokens before: while the device computes
/// the logits they are read, and ask for their masks.
Chosen Engine::Core::decode(const std::vector<int64_t>& numbers,
                            const std::vector<int64_t>& slots) {
  const auto masks = masks_of(numbers);
  if (std::ranges::all_of(masks, [](const TokenMask* mask) { return mask == nullptr; })) {
    return runner->decode(slots);
  }
  runner->begin_decode(slots);
  collect_all_but(0);
  return runner->end_decode(slots, masks_of(numbers));
}

/// Of the sequences that did not end; null: none.
std::vector<TokenMask*> Engine::Core::masks_of(const std::vector<int64_t>& numbers) const {
  std::vector<TokenMask*> masks;
  for (const int64_t number : numbers) {
    const auto place = sequences.find(number);
    masks.push_back(place == sequences.end() ? nullptr : place->second.request.options.mask.get());
  }
  return masks;
}

void Engine::Core::launch(Launch queued) {
  launches.push_back(std::move(queued));
  ++unread;
}

void Engine::Core::collect_all_but(size_t left) {
  while (launches.size() > left) collect();
  unread = std::min(unread, launches.size());
}

void Engine::Core::collect() {
  Launch launch = std::move(launches.front());
  launches.pop_front();
  auto tokens = launch.chosen.read();
  take_times(launch);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (sequences.contains(launch.sequences[i])) take(launch.sequences[i], std::move(tokens[i]));
  }
}

/// A step with a piece before it takes what steps took lately and the piece's time.
void Engine::Core::take_times(const Launch& launch) {
  const auto now = Clock::now();
  if (launch.is_decode) {
    const double seconds = seconds_between(std::max(last_done, launch.queued), now);
    if (!launch.has_piece) step_seconds = seconds;
    if (launch.has_piece) share.prefilled(std::max(0.0, seconds - step_seconds));
    share.decoded(std::min(seconds, step_seconds));
  }
  last_done = now;
}

void Engine::Core::take_first(Sequence& sequence) {
  constexpr int64_t kLeast = 256;
  constexpr double kShareOfLatest = 0.3;
  PromptReport& report = *sequence.report;
  report.first_token = last_done;
  const int64_t computed = report.prompt - report.reused;
  const double seconds = seconds_between(report.admitted, last_done);
  if (computed < kLeast || seconds <= 0) return;
  const double rate = static_cast<double>(computed) / seconds;
  prompt_rate = prompt_rate == 0 ? rate : prompt_rate + kShareOfLatest * (rate - prompt_rate);
}

void Engine::Core::take(int64_t number, Chosen::Token token) {
  if (token.id == kernels::kIdNoToken) return finish(number, FinishReason::kNoToken, {});
  if (token.id < 0) return finish(number, FinishReason::kNotFinite, {});
  Sequence& sequence = sequences.at(number);
  const GenerateOptions& asked = sequence.request.options;
  const bool is_first = sequence.answer.empty();
  sequence.answer.push_back(token.id);
  if (is_first) take_first(sequence);
  if (std::ranges::find(asked.stop_ids, token.id) != asked.stop_ids.end()) {
    return finish(number, FinishReason::kStop, {});
  }
  ++counted.decoded_tokens;
  if (asked.mask) asked.mask->accept(token.id);
  Event event{.sequence = number, .id = token.id, .logprob = token.logprob, .time = last_done};
  event.top = std::move(token.top);
  if (std::ssize(sequence.answer) == asked.max_tokens) {
    return finish(number, FinishReason::kLength, event);
  }
  if (is_first) event.report = std::make_shared<PromptReport>(*sequence.report);
  events.push_back(event);
}

void Engine::Core::finish(int64_t number, FinishReason reason, Event event) {
  event.sequence = number, event.finish = reason, event.time = last_done;
  const auto place = sequences.find(number);
  Sequence& sequence = place->second;
  event.report = sequence.report;
  const bool is_whole = sequence.launched > 0 && !sequence.is_paused &&
                        sequence.mode == ReuseMode::kNearest && reason != FinishReason::kNotFinite;
  if (is_whole) keep(sequence, sequence.tokens_in_memory(), false);
  if (sequence.lease) memory->release(std::move(*sequence.lease));
  if (sequence.place != nullptr) cache->leave(sequence.place);
  if (sequence.coming != nullptr) PrefixCache::step_off(sequence.coming);
  sequences.erase(place);
  events.push_back(event);
}

}  // namespace hypenet
