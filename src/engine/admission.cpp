// Who gets memory: paused sequences first, then others in order of arrival. One whose beginning is
// being read by another, or from the disk, waits for that outside the line.
#include <algorithm>

#include "base/error.h"
#include "engine/core.h"
#include "model/token_ids.h"

namespace hypenet {

int64_t last_common_cut(const std::vector<int64_t>& a, const std::vector<int64_t>& b,
                        int64_t limit) {
  int64_t cut = 0;
  for (size_t i = 0; i < a.size() && i < b.size() && a[i] == b[i] && a[i] <= limit; ++i) cut = a[i];
  return cut;
}

int64_t Engine::Core::first_tokens(const Sequence& sequence) const {
  return sequence.prompt_tokens() +
         std::min(sequence.request.options.max_tokens, options.reserved_answer);
}

void Engine::Core::admit() {
  if (!resume_paused()) return;
  if (blocked_since == memory->releases()) return;
  blocked_since = -1;
  for (auto& [number, sequence] : sequences) {
    if (sequence.lease || awaits(number, sequence) || awaits_disk(sequence)) continue;
    if (start(sequence)) continue;
    blocked_since = memory->releases();
    return;
  }
}

bool Engine::Core::start(Sequence& sequence) {
  if (!lease(sequence)) return false;
  sequence.report->admitted = std::chrono::steady_clock::now();
  if (sequence.is_stepped) return true;
  sequence.prompt = ids_tensor(sequence.request.prompt, model->head_weight().device());
  set_sampling(sequence);
  return true;
}

void Engine::Core::set_sampling(const Sequence& sequence) {
  runner->start(sequence.lease->slot, sequence.request.options, sequence.request.prompt);
}

bool Engine::Core::lease(Sequence& sequence) {
  if (sequence.mode != ReuseMode::kOff) return lease_with_cache(sequence);
  const int64_t tokens = first_tokens(sequence);
  if (cache && memory->free_slots() > 0) cache->make_room(memory->pages_for(tokens));
  sequence.lease = memory->lease(tokens);
  if (!sequence.lease) return false;
  if (cache) {
    PromptReport& report = *sequence.report;
    report.alike = find(sequence).alike;
    if (report.alike > 0) report.miss = ReuseMiss::kOff;
    if (is_costly(report)) ++counted.cache.misses[static_cast<size_t>(report.miss)];
  }
  return true;
}

PrefixTree::Match Engine::Core::find(const Sequence& sequence, bool sees_disk) {
  return cache->find(sequence.request.salt, {.tokens = sequence.request.prompt,
                                             .cuts = sequence.cuts,
                                             .mode = sequence.mode,
                                             .limit = sequence.prompt_tokens() - 1,
                                             .sees_disk = sees_disk});
}

/// With what is kept of the prompt's beginning in place.
bool Engine::Core::lease_with_cache(Sequence& sequence) {
  auto match = find(sequence);
  auto resumed = cache->lease(match, first_tokens(sequence));
  const bool is_alone = memory->free_slots() == memory->slots();
  if (!resumed && is_alone && match.position > 0) {
    // What is kept of it leaves no room for the rest.
    while (match.node->parent != nullptr) match.node = match.node->parent;
    match.rest = nullptr, match.position = 0, match.miss = ReuseMiss::kEvicted;
    resumed = cache->lease(match, first_tokens(sequence));
  }
  if (!resumed) return false;
  sequence.lease = std::move(resumed->lease);
  sequence.ticket = resumed->ticket;
  sequence.prefilled = match.position;
  sequence.place = match.node;
  sequence.worth_keeping = match.known;
  PrefixCache::stand_on(match.node);
  PromptReport& report = *sequence.report;
  report.reused = match.position, report.alike = match.alike;
  report.tier = resumed->tier, report.miss = match.miss;
  if (sequence.near >= 0 && match.position > sequence.near) report.tier = CacheTier::kDisk;
  counted.cache.queried_tokens += sequence.prompt_tokens();
  CacheStats& cache_counts = counted.cache;
  (report.tier == CacheTier::kDisk   ? cache_counts.disk_hit_tokens
   : report.tier == CacheTier::kHost ? cache_counts.host_hit_tokens
                                     : cache_counts.device_hit_tokens) += report.reused;
  if (is_costly(report)) ++counted.cache.misses[static_cast<size_t>(report.miss)];
  return true;
}

/// Whether it waits for another that reads the same beginning.
bool Engine::Core::awaits(int64_t number, Sequence& sequence) {
  if (sequence.mode == ReuseMode::kOff) return false;
  if (sequence.awaits) {
    const auto leader = sequences.find(sequence.awaits->leader);
    const bool goes_on = leader != sequences.end() && leader->second.is_reading() &&
                         leader->second.prefilled < sequence.awaits->position;
    if (goes_on) return true;
    sequence.awaits.reset();
  }
  sequence.awaits = whom_to_await(number, sequence, find(sequence).position);
  if (sequence.awaits) sequence.awaited_before = sequence.awaits->position;
  return sequence.awaits.has_value();
}

/// Whether it waits for what the disk has of its beginning.
bool Engine::Core::awaits_disk(Sequence& sequence) {
  if (sequence.mode == ReuseMode::kOff || !cache->has_store()) return false;
  if (sequence.coming != nullptr) {
    if (cache->is_coming(*sequence.coming)) return true;
    PrefixCache::step_off(std::exchange(sequence.coming, nullptr));
  }
  if (sequence.fetches == 0) return false;
  const auto near = find(sequence), far = find(sequence, true);
  if (far.position <= near.position || !pays_to_bring(near, far)) return false;
  --sequence.fetches;
  if (!cache->bring_near(far)) return false;
  sequence.coming = far.rest != nullptr ? far.rest : far.node;
  if (sequence.near < 0) sequence.near = near.position;
  PrefixCache::stand_on(sequence.coming);
  return true;
}

/// On a CPU reading a file always takes less than reading the prompt.
bool Engine::Core::pays_to_bring(const PrefixTree::Match& near,
                                 const PrefixTree::Match& far) const {
  if (!is_cuda() || prompt_rate == 0) return true;
  const auto tokens = static_cast<double>(far.position - near.position);
  return cache->seconds_to_bring(far) < tokens / prompt_rate;
}

/// When nobody else can use the time.
void Engine::Core::wait_for_disk() {
  constexpr auto kLongest = std::chrono::milliseconds(5);
  const bool waits =
      std::ranges::any_of(sequences, [](const auto& one) { return one.second.coming != nullptr; });
  const bool others_run =
      std::ranges::any_of(sequences, [](const auto& one) { return one.second.lease.has_value(); });
  if (waits && !others_run) cache->wait_for_disk(kLongest);
}

/// The one that will be furthest in this prompt, if that is nearer than the prompt's own work from
/// `position` on.
std::optional<Awaited> Engine::Core::whom_to_await(int64_t number, const Sequence& sequence,
                                                   int64_t position) {
  std::optional<Awaited> best;
  const auto& prompt = sequence.request.prompt;
  for (const auto& [other, leader] : sequences) {
    if (other == number || !leader.is_reading() || leader.place == nullptr ||
        leader.request.salt != sequence.request.salt || leader.prefilled < position ||
        (sequence.mode == ReuseMode::kExact && leader.mode != ReuseMode::kExact)) {
      continue;
    }
    const auto& theirs = leader.request.prompt;
    const int64_t alike = std::ranges::mismatch(prompt, theirs).in1 - prompt.begin();
    const bool is_twin =
        alike == std::ssize(prompt) && alike == std::ssize(theirs) && sequence.cuts == leader.cuts;
    const int64_t limit = std::min(alike, sequence.prompt_tokens() - 1);
    const int64_t awaited = is_twin ? alike : last_common_cut(sequence.cuts, leader.cuts, limit);
    const int64_t least =
        std::max({leader.prefilled, sequence.awaited_before, best ? best->position : 0});
    if (awaited > least) best = Awaited{other, awaited, is_twin};
  }
  return best;
}

/// Those whose prompts are the leader's go on from its end, as many as there is room for.
void Engine::Core::start_twins(int64_t leader, const Tensor& residual) {
  for (auto& [number, twin] : sequences) {
    const bool is_twin = twin.awaits && twin.awaits->leader == leader && twin.awaits->is_twin;
    if (!is_twin || !start_twin(sequences.at(leader), twin)) continue;
    tell_progress(number, twin);
    begin_answer(number, twin, residual);
  }
}

bool Engine::Core::start_twin(const Sequence& leader, Sequence& twin) {
  const int64_t prompt = twin.prompt_tokens(), tokens = first_tokens(twin);
  const bool has_pages = memory->pages() > 0;
  const auto whole = has_pages ? static_cast<size_t>(prompt / options.page_tokens) : 0;
  const auto missing = memory->pages_for(tokens) - static_cast<int64_t>(whole);
  if (memory->free_slots() == 0 || !cache->make_room(missing)) return false;
  twin.awaits.reset();
  twin.lease = memory->lease(tokens, std::span(leader.lease->pages).first(whole));
  const bool has_part = has_pages && prompt % options.page_tokens > 0;
  const auto part = [&](const Lease& lease) {
    return has_part ? std::span(lease.pages).subspan(whole, 1) : std::span<const int32_t>();
  };
  memory->state().copy({leader.lease->slot, part(*leader.lease)},
                       {twin.lease->slot, part(*twin.lease)});
  twin.prefilled = prompt;
  twin.place = leader.place;
  PrefixCache::stand_on(twin.place);
  PromptReport& report = *twin.report;
  report.admitted = std::chrono::steady_clock::now();
  report.reused = report.alike = prompt, report.tier = CacheTier::kDevice;
  counted.cache.queried_tokens += prompt, counted.cache.device_hit_tokens += prompt;
  set_sampling(twin);
  return true;
}

/// Paused sequences come back in order of arrival; whether all have.
bool Engine::Core::resume_paused() {
  for (auto& [number, sequence] : sequences) {
    if (!sequence.is_paused) continue;
    const int64_t left = sequence.tokens() - sequence.tokens_in_memory();
    const int64_t tokens = sequence.tokens_in_memory() + std::min(left, options.reserved_answer);
    const int64_t needed = memory->pages_for(std::max(tokens, sequence.prompt_tokens()));
    if (cache) cache->make_room(needed);
    if (!memory->grow(*sequence.lease, std::max(tokens, sequence.prompt_tokens()))) return false;
    for (int64_t i = 0; i < sequence.parked.size(0); ++i) {
      part_bytes(sequence.parked[i],
                 memory->state().bytes_of_page(sequence.lease->pages[static_cast<size_t>(i)]));
    }
    sequence.parked = Tensor();
    sequence.is_paused = false;
  }
  return true;
}

/// Its pages go to host memory; slot and states stay.
void Engine::Core::pause(Sequence& sequence) {
  const int64_t used = memory->pages_for(sequence.tokens_in_memory());
  const auto types = model->memory_types();
  sequence.parked = torch::empty({used, page_bytes(model->config(), types, options.page_tokens)},
                                 torch::TensorOptions(torch::kUInt8).pinned_memory(is_cuda()));
  for (int64_t i = 0; i < used; ++i) {
    join_bytes(memory->state().bytes_of_page(sequence.lease->pages[static_cast<size_t>(i)]),
               sequence.parked[i]);
  }
  memory->release_pages(*sequence.lease);
  sequence.is_paused = true;
  ++sequence.report->pauses, ++counted.pauses;
}

/// Pages for the next token of an answer: kept prompts give way, then the youngest sequences.
bool Engine::Core::has_room_for_next(Sequence& sequence) {
  const int64_t tokens = sequence.prompt_tokens() + sequence.launched;
  while (!memory->grow(*sequence.lease, tokens)) {
    if (cache && cache->make_room(1)) continue;
    const auto youngest = std::find_if(sequences.rbegin(), sequences.rend(), [](const auto& one) {
      return one.second.lease && !one.second.is_paused;
    });
    pause(youngest->second);
    if (sequence.is_paused) return false;
  }
  return true;
}

void Engine::Core::check() const {
  std::vector<int32_t> holders(static_cast<size_t>(memory->pages()), 0);
  int64_t slots = 0;
  for (const auto& [number, sequence] : sequences) {
    if (!sequence.lease) continue;
    ++slots;
    for (const int32_t page : sequence.lease->pages) ++holders[static_cast<size_t>(page)];
  }
  HYPENET_CHECK(slots == memory->slots() - memory->free_slots(), "engine: expected ", slots,
                " slots in use, found ", memory->slots() - memory->free_slots());
  if (cache) {
    cache->check();
    cache->add_holders(holders);
  }
  int64_t used = 0;
  for (size_t page = 0; page < holders.size(); ++page) {
    const int32_t found = memory->pool().holders(static_cast<int32_t>(page));
    used += found > 0 ? 1 : 0;
    HYPENET_CHECK(found == holders[page], "engine: page ", page, ": expected ", holders[page],
                  " holders, found ", found);
  }
  HYPENET_CHECK(used + memory->free_pages() == memory->pages(), "engine: expected ",
                memory->pages() - used, " free pages, found ", memory->free_pages());
}

}  // namespace hypenet
