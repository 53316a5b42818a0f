// What the engine consists of. Whom it lets in stands in admission.cpp, what runs in a step in
// schedule.cpp.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "engine/decode_share.h"
#include "engine/engine.h"
#include "engine/memory.h"
#include "engine/prefix_cache.h"
#include "engine/runner.h"
#include "engine/sequence.h"

namespace hypenet {

struct Engine::Core {
  Core(CausalLm model, const EngineOptions& options);

  /// Memory is taken when the first request comes: scoring needs none.
  void prepare();
  void check() const;
  ReuseMode mode_of(const Request& request) const;
  bool is_cuda() const { return model->head_weight().is_cuda(); }

  // admission.cpp
  void admit();
  bool start(Sequence& sequence);
  bool lease(Sequence& sequence);
  PrefixTree::Match find(const Sequence& sequence, bool sees_disk = false);
  bool lease_with_cache(Sequence& sequence);
  void set_sampling(const Sequence& sequence);
  std::optional<Awaited> whom_to_await(int64_t number, const Sequence& sequence, int64_t position);
  bool awaits(int64_t number, Sequence& sequence);
  bool awaits_disk(Sequence& sequence);
  bool pays_to_bring(const PrefixTree::Match& near, const PrefixTree::Match& far) const;
  void wait_for_disk();
  void start_twins(int64_t leader, const Tensor& residual);
  bool start_twin(const Sequence& leader, Sequence& twin);
  bool resume_paused();
  void pause(Sequence& sequence);
  bool has_room_for_next(Sequence& sequence);
  int64_t first_tokens(const Sequence& sequence) const;  // for which pages are taken at the start

  // schedule.cpp
  void prefill();
  bool is_here(const Sequence& sequence);
  Sequence* next_reader(int64_t left);
  void read_piece(int64_t number, Sequence& sequence);
  void tell_progress(int64_t number, const Sequence& sequence);
  void keep(Sequence& sequence, int64_t position, bool is_on_grid);
  void begin_answer(int64_t number, Sequence& sequence, const Tensor& residual);
  bool feed(Sequence& sequence, std::vector<Runner::Fed>& fed);
  void decode();
  Chosen decode(const std::vector<int64_t>& numbers, const std::vector<int64_t>& slots);
  void launch(Launch queued);
  std::vector<TokenMask*> masks_of(const std::vector<int64_t>& numbers) const;
  void collect();
  void collect_all_but(size_t left);
  void take_times(const Launch& launch);
  void take_first(Sequence& sequence);
  void take(int64_t number, Chosen::Token token);
  void finish(int64_t number, FinishReason reason, Event event);

  CausalLm model;
  EngineOptions options;
  std::optional<Memory> memory;
  std::optional<PrefixCache> cache;  // none: nothing is kept
  std::optional<Runner> runner;
  int64_t next_number = 0;
  std::map<int64_t, Sequence> sequences;  // by number, which is the order of arrival
  std::deque<int64_t> round;              // who still reads a piece in this round
  std::deque<Launch> launches;
  size_t unread = 0;  // of the launches, those of this step
  std::vector<Event> events;
  int64_t blocked_since = -1;  // Memory::releases() when the first in line did not fit
  DecodeShare share;
  std::optional<PromptReport::Time> piece_began;  // in the last step that had one; until decode
  PromptReport::Time last_done = {};
  double step_seconds = 0;  // of decode alone, lately
  double prompt_rate = 0;   // tokens a second that prompts were read at, lately; 0: not known
  EngineStats counted;      // what is counted since the start
};

/// The last cut up to `limit` before which both have the same ones; 0: none.
int64_t last_common_cut(const std::vector<int64_t>& a, const std::vector<int64_t>& b,
                        int64_t limit);

}  // namespace hypenet
