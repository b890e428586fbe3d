%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% One client. The process outlives its socket when the client asked for a persistent session.
%%
%% It goes back to its loop through the module's name, so it takes on new code with the next thing that happens
%% to it, and not before: a client that is idle stays in the old code after a switch.
-module(emqx_connection).
-export([start/1, init/1, loop/1, release/0]).

-ifndef(VSN).
-define(VSN, "0.0.0").
-endif.
-ifndef(PATCH).
-define(PATCH, 0).
-endif.

-define(CONNECT_TIMEOUT, 15000).
-define(SESSION_EXPIRY, 7200000).
-define(MAX_INFLIGHT, 32).
-define(MAX_QUEUE, 100000).

release() ->
    ?VSN.

start(Socket) ->
    {ok, spawn(?MODULE, init, [Socket])}.

init(Socket) ->
    receive {socket_ready, Socket} -> ok
    after ?CONNECT_TIMEOUT -> exit(normal)
    end,
    ok = emqx_cm:register(self()),
    inet:setopts(Socket, [{active, once}]),
    %% Cancelled on CONNECT: a timer that fires later would take an idle client out of old code too early.
    Timer = erlang:send_after(?CONNECT_TIMEOUT, self(), connect_timeout),
    ?MODULE:loop(#{socket => Socket, buffer => <<>>, client => undefined, clean => true, keepalive => 0,
                   timer => Timer, seen => now_ms(), session => new_session(), info => undefined}).

new_session() ->
    #{subs => #{}, next => 1, inflight => #{}, queue => queue:new(), depth => 0}.

loop(State) ->
    receive
        Message ->
            case attempt(Message, State) of
                {ok, New} -> ?MODULE:loop(touch(New));
                stop -> ok
            end
    end.

%% Who crashes ends a session, and is not counted as disconnected.
attempt(Message, State) ->
    try handle(Message, State)
    catch Class:Reason:Stack ->
            ended('session.terminated', State),
            erlang:raise(Class, Reason, Stack)
    end.

%% The state of a client has had a counter since 4.4.19; a state from before has none, and one that goes back
%% keeps it, which the older code does not mind.
-if(?PATCH >= 19).
touch(State) -> maps:update_with(handled, fun(N) -> N + 1 end, 1, State).
-else.
touch(State) -> State.
-endif.

handle({tcp, Socket, Data}, State = #{socket := Socket, buffer := Buffer}) ->
    case packets(<<Buffer/binary, Data/binary>>, State#{seen := now_ms()}) of
        {ok, New = #{socket := Socket}} ->
            inet:setopts(Socket, [{active, once}]),
            {ok, New};
        Other ->
            Other
    end;
handle({deliver, Topic, Payload, QoS}, State) ->
    {ok, deliver(Topic, Payload, QoS, State)};
handle({tcp_closed, Socket}, State = #{socket := Socket}) ->
    closed(State);
handle({tcp_error, Socket, _}, State = #{socket := Socket}) ->
    closed(State);
handle(check_keepalive, State = #{socket := Socket, keepalive := KeepAlive, seen := Seen}) when Socket =/= undefined ->
    case now_ms() - Seen > KeepAlive * 1500 of
        true -> closed(State);
        false -> {ok, watch(State)}
    end;
handle({ask, From, Ref, subscriptions}, State = #{session := #{subs := Subs}}) ->
    From ! {answer, Ref, Subs},
    {ok, State};
handle({ask, From, Ref, {takeover, Clean}}, State = #{session := Session}) ->
    close(State),
    emqx_broker:unsubscribe_all(self()),
    ended(case Clean of true -> 'session.discarded'; false -> 'session.takeovered' end, State),
    From ! {answer, Ref, case Clean of true -> none; false -> drain(Session) end},
    stop;
handle({ask, From, Ref, close}, State) ->
    Result = closed(State),
    From ! {answer, Ref, ok},
    Result;
handle(crash, _State) ->
    error(crash);
handle(connect_timeout, State = #{client := undefined}) ->
    close(State),
    stop;
handle({session_expired, Since}, State = #{socket := undefined, seen := Since}) ->
    ended('session.terminated', State),
    stop;
handle(_Message, State) ->
    %% Also release_old_code: having been here is all that it is about.
    {ok, State}.

packets(Buffer, State) ->
    case emqx_frame:parse(Buffer) of
        {ok, Packet, Rest} ->
            case packet(Packet, State) of
                {ok, New} -> packets(Rest, New);
                Other -> Other
            end;
        more ->
            {ok, State#{buffer := Buffer}};
        {error, _} ->
            closed(State)
    end.

packet({connect, _, Level, _, _, _, _}, State = #{client := undefined}) when Level =/= 3, Level =/= 4 ->
    send(State, emqx_frame:connack(false, 1)),
    close(State),
    stop;
packet({connect, _, _, false, _, <<>>, _}, State = #{client := undefined}) ->
    send(State, emqx_frame:connack(false, 2)),
    close(State),
    stop;
packet({connect, Name, Level, Clean, KeepAlive, Id, User}, State = #{client := undefined, timer := Timer}) ->
    erlang:cancel_timer(Timer),
    Client = case Id of
                 <<>> -> iolist_to_binary(io_lib:format("auto-~p", [erlang:unique_integer([positive])]));
                 _ -> Id
             end,
    {Present, Session} = case emqx_cm:takeover(Client, Clean) of
                             {ok, Old} -> {true, Old};
                             none -> {false, new_session()}
                         end,
    emqx_metrics:inc(case Present of true -> 'session.resumed'; false -> 'session.created' end),
    emqx_metrics:inc('client.connected'),
    Info = info(State, #{proto_name => Name, proto_ver => Level, clean_start => Clean, keepalive => KeepAlive,
                         clientid => Client, username => User}),
    emqx_cm:connected(Client, Info),
    send(State, emqx_frame:connack(Present, 0)),
    New = State#{client := Client, clean := Clean, keepalive := KeepAlive, session := Session, info := Info},
    {ok, watch(resend(New))};
packet(_, State = #{client := undefined}) ->
    closed(State);
packet({connect, _, _, _, _, _, _}, State) ->
    closed(State);
packet({publish, Topic, Payload, QoS, Retain, Id}, State) ->
    emqx_broker:publish(Topic, Payload, QoS, Retain),
    [send(State, emqx_frame:puback(Id)) || QoS =:= 1],
    {ok, State};
packet({puback, Id}, State = #{session := Session = #{inflight := Inflight}}) ->
    {ok, pump(State#{session := Session#{inflight := maps:remove(Id, Inflight)}})};
packet({subscribe, Id, Filters}, State = #{session := Session}) ->
    emqx_metrics:inc('client.subscribe'),
    {Codes, Subs} = lists:mapfoldl(fun subscribe/2, maps:get(subs, Session), Filters),
    send(State, emqx_frame:suback(Id, Codes)),
    {ok, State#{session := Session#{subs := Subs}}};
packet({unsubscribe, Id, Filters}, State = #{session := Session = #{subs := Subs}}) ->
    emqx_metrics:inc('client.unsubscribe'),
    [emqx_broker:unsubscribe(self(), Filter) || Filter <- Filters],
    send(State, emqx_frame:unsuback(Id)),
    {ok, State#{session := Session#{subs := maps:without(Filters, Subs)}}};
packet(pingreq, State) ->
    send(State, emqx_frame:pingresp()),
    {ok, State};
packet(disconnect, State) ->
    closed(State).

%% What the node tells of a connection.
info(#{socket := Socket}, Told = #{clientid := Client, username := User}) ->
    Peer = address(inet:peername(Socket)),
    #{conninfo => Told#{socktype => tcp, conn_mod => ?MODULE, peername => Peer,
                        sockname => address(inet:sockname(Socket)), connected_at => erlang:system_time(millisecond)},
      clientinfo => #{clientid => Client, username => User, peerhost => element(1, Peer), protocol => mqtt,
                      zone => external},
      conn_state => connected}.

%% A socket that is closed already has none.
address({ok, Address}) -> Address;
address({error, _}) -> {undefined, undefined}.

subscribe({Filter, QoS}, Subs) ->
    case emqx_topic:valid_filter(Filter) of
        true ->
            emqx_broker:subscribe(self(), Filter, QoS),
            {QoS, Subs#{Filter => QoS}};
        false ->
            {16#80, Subs}
    end.

deliver(Topic, Payload, 0, State = #{socket := Socket}) ->
    [send(State, emqx_frame:publish(Topic, Payload, 0, 0, false)) || Socket =/= undefined],
    State;
deliver(Topic, Payload, 1, State = #{session := Session}) ->
    pump(State#{session := enqueue({Topic, Payload}, Session)}).

%% Counted apart: the length of a queue takes its whole length to find out.
enqueue(Item, Session = #{queue := Queue, depth := Depth}) when Depth >= ?MAX_QUEUE ->
    Session#{queue := queue:in(Item, queue:drop(Queue))};
enqueue(Item, Session = #{queue := Queue, depth := Depth}) ->
    Session#{queue := queue:in(Item, Queue), depth := Depth + 1}.

%% Sends from the queue as long as the client has acknowledged enough.
pump(State = #{socket := undefined}) ->
    State;
pump(State = #{session := Session = #{queue := Queue, depth := Depth, inflight := Inflight, next := Id}}) ->
    case map_size(Inflight) < ?MAX_INFLIGHT andalso queue:out(Queue) of
        {{value, {Topic, Payload} = Item}, Rest} ->
            send(State, emqx_frame:publish(Topic, Payload, 1, Id, false)),
            pump(State#{session := Session#{queue := Rest, depth := Depth - 1, inflight := Inflight#{Id => Item},
                                            next := next_id(Id)}});
        _ ->
            State
    end.

next_id(65535) -> 1;
next_id(Id) -> Id + 1.

resend(State = #{session := #{inflight := Inflight}}) ->
    [send(State, emqx_frame:publish(Topic, Payload, 1, Id, true)) || {Id, {Topic, Payload}} <- maps:to_list(Inflight)],
    pump(State).

%% What is in the mailbox already has been acknowledged to its publisher: it goes along with the session.
drain(Session) ->
    receive
        {deliver, Topic, Payload, 1} -> drain(enqueue({Topic, Payload}, Session))
    after 0 -> Session
    end.

watch(State = #{keepalive := 0}) ->
    State;
watch(State = #{keepalive := KeepAlive, seen := Seen}) ->
    erlang:send_after(max(100, Seen + KeepAlive * 1500 - now_ms() + 1), self(), check_keepalive),
    State.

%% The end of a connection, and of the session too unless it is a persistent one. The row of who ends it stays as it
%% is until the process is gone.
closed(State = #{socket := undefined}) ->
    {ok, State};
closed(State = #{client := undefined}) ->
    close(State),
    stop;
closed(State = #{clean := true}) ->
    close(State),
    emqx_metrics:inc('client.disconnected'),
    emqx_cm:not_live(self()),
    ended('session.terminated', State),
    stop;
closed(State = #{client := Client, info := Info}) ->
    close(State),
    emqx_metrics:inc('client.disconnected'),
    emqx_cm:disconnected(Client, Info#{conn_state := disconnected}),
    Now = now_ms(),
    erlang:send_after(?SESSION_EXPIRY, self(), {session_expired, Now}),
    {ok, State#{socket := undefined, buffer := <<>>, seen := Now}}.

close(#{socket := undefined}) ->
    ok;
close(#{socket := Socket}) ->
    gen_tcp:close(Socket).

%% Who was never connected had no session.
ended(_Metric, #{client := undefined}) -> ok;
ended(Metric, _State) -> emqx_metrics:inc(Metric).

send(#{socket := undefined}, _Data) -> ok;
send(#{socket := Socket}, Data) -> gen_tcp:send(Socket, Data).

now_ms() ->
    erlang:monotonic_time(millisecond).
