%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% MQTT 3.1 and 3.1.1 on the wire.
-module(emqx_frame).
-export([parse/1, connack/2, publish/5, puback/1, suback/2, unsuback/1, pingresp/0]).

-define(MAX_SIZE, 1048576).

%% {ok, Packet, Rest}, more, or {error, Reason}.
parse(<<Type:4, Flags:4, Rest/binary>>) ->
    case length_field(Rest, 0, 1) of
        {ok, Length, _} when Length > ?MAX_SIZE ->
            {error, frame_too_large};
        {ok, Length, Body} when byte_size(Body) >= Length ->
            <<Packet:Length/binary, Next/binary>> = Body,
            try {ok, packet(Type, Flags, Packet), Next}
            catch error:_ -> {error, malformed_packet}
            end;
        {ok, _, _} -> more;
        Other -> Other
    end;
parse(<<>>) ->
    more.

length_field(<<>>, _, _) -> more;
length_field(_, _, Multiplier) when Multiplier > 2097152 -> {error, malformed_length};
length_field(<<0:1, N:7, Rest/binary>>, Sum, Multiplier) -> {ok, Sum + N * Multiplier, Rest};
length_field(<<1:1, N:7, Rest/binary>>, Sum, Multiplier) -> length_field(Rest, Sum + N * Multiplier, Multiplier * 128).

packet(1, _, <<L:16, Name:L/binary, Level, User:1, _Pass:1, _WillRetain:1, _WillQoS:2, Will:1, Clean:1, _:1,
               KeepAlive:16, N:16, ClientId:N/binary, Rest/binary>>) ->
    {connect, Name, Level, Clean =:= 1, KeepAlive, ClientId, username(User, Will, Rest)};
packet(3, Flags, Body) -> publish_packet((Flags bsr 1) band 3, Flags band 1, Body);
packet(4, _, <<Id:16>>) -> {puback, Id};
packet(8, _, <<Id:16, Filters/binary>>) -> {subscribe, Id, [{F, min(Q, 1)} || {F, Q} <- subscriptions(Filters)]};
packet(10, _, <<Id:16, Filters/binary>>) -> {unsubscribe, Id, filters(Filters)};
packet(12, _, <<>>) -> pingreq;
packet(14, _, _) -> disconnect.

username(0, _, _) -> undefined;
username(1, 0, <<N:16, Name:N/binary, _/binary>>) -> Name;
username(1, 1, <<T:16, _Topic:T/binary, M:16, _Message:M/binary, Rest/binary>>) -> username(1, 0, Rest).

publish_packet(0, Retain, <<L:16, Topic:L/binary, Payload/binary>>) ->
    {publish, Topic, Payload, 0, Retain, undefined};
publish_packet(1, Retain, <<L:16, Topic:L/binary, Id:16, Payload/binary>>) ->
    {publish, Topic, Payload, 1, Retain, Id}.

subscriptions(<<>>) -> [];
subscriptions(<<L:16, Filter:L/binary, QoS, Rest/binary>>) -> [{Filter, QoS} | subscriptions(Rest)].

filters(<<>>) -> [];
filters(<<L:16, Filter:L/binary, Rest/binary>>) -> [Filter | filters(Rest)].

connack(SessionPresent, Code) ->
    Flag = case SessionPresent of true -> 1; false -> 0 end,
    <<16#20, 2, Flag, Code>>.

publish(Topic, Payload, 0, _Id, _Dup) ->
    frame(16#30, [<<(byte_size(Topic)):16>>, Topic, Payload]);
publish(Topic, Payload, 1, Id, Dup) ->
    Bit = case Dup of true -> 8; false -> 0 end,
    frame(16#32 bor Bit, [<<(byte_size(Topic)):16>>, Topic, <<Id:16>>, Payload]).

puback(Id) -> <<16#40, 2, Id:16>>.
suback(Id, Codes) -> frame(16#90, [<<Id:16>>, Codes]).
unsuback(Id) -> <<16#B0, 2, Id:16>>.
pingresp() -> <<16#D0, 0>>.

frame(First, Body) ->
    [First, variable(iolist_size(Body)), Body].

variable(N) when N < 128 -> [N];
variable(N) -> [(N rem 128) bor 128 | variable(N div 128)].
