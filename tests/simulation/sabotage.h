// SPDX-License-Identifier: Apache-2.0
// Bugs put in on purpose, each in the driver or the service of the simulation, so that a test can
// say whether the checks would find them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace cfsgate::simulation {

enum class Sabotage : std::uint8_t {
    None,
    ArrivalOrder,       ///< one node applies what had waited in order of arrival, not of count
    DropOneResent,      ///< a driver loses some of the messages that are sent again
    NoResend,           ///< a driver never sends again
    KeepAtTakeover,     ///< one node does not delete what the leader has not
    AnswerBeforeApply,  ///< callers are answered when their change is delivered
    AnswerTwice,        ///< some callers are
    NeverAnswer,        ///< callers of refused changes are forgotten
    ApplyTwice,         ///< one node applies some changes twice
    LocalTime,          ///< one node takes its own clock for the stamp
    ForgetDurable,      ///< a power cut takes what one node had flushed
    EarlyView,          ///< one member sees view changes one message early
    LostDelivery,       ///< one member misses a message
    SwappedDeliveries,  ///< one member sees two messages in the other order
    StayOut,            ///< one node does not join again once it has left
};

constexpr std::array<std::pair<Sabotage, std::string_view>, 14> kSabotages{{
    {Sabotage::ArrivalOrder, "arrival-order"},
    {Sabotage::DropOneResent, "drop-one-resent"},
    {Sabotage::NoResend, "no-resend"},
    {Sabotage::KeepAtTakeover, "keep-at-takeover"},
    {Sabotage::AnswerBeforeApply, "answer-before-apply"},
    {Sabotage::AnswerTwice, "answer-twice"},
    {Sabotage::NeverAnswer, "never-answer"},
    {Sabotage::ApplyTwice, "apply-twice"},
    {Sabotage::LocalTime, "local-time"},
    {Sabotage::ForgetDurable, "forget-durable"},
    {Sabotage::EarlyView, "early-view"},
    {Sabotage::LostDelivery, "lost-delivery"},
    {Sabotage::SwappedDeliveries, "swapped-deliveries"},
    {Sabotage::StayOut, "stay-out"},
}};

}  // namespace cfsgate::simulation
