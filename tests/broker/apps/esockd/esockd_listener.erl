%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(esockd_listener).
-behaviour(gen_server).
-export([start_link/4, acceptor/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

start_link(Proto, ListenOn, Options, MFA) ->
    gen_server:start_link(?MODULE, [Proto, ListenOn, Options, MFA], []).

init([_Proto, {Host, Port}, Options, MFA]) ->
    process_flag(trap_exit, true),
    {ok, Address} = inet:parse_address(Host),
    SocketOptions = [binary, {active, false}, {packet, raw}, {reuseaddr, true}, {nodelay, true},
                     {backlog, 1024}, {ip, Address}, {send_timeout, 15000}, {send_timeout_close, true}],
    case gen_tcp:listen(Port, SocketOptions) of
        {ok, Listen} ->
            Serve = case proplists:get_value(tls, Options) of
                        undefined -> MFA;
                        Files -> {esockd_tls, start, [esockd_tls:prepare(Files), MFA]}
                    end,
            N = proplists:get_value(acceptors, Options),
            [spawn_link(?MODULE, acceptor, [self(), Listen, Serve]) || _ <- lists:seq(1, N)],
            {ok, #{socket => Listen, acceptors => N, count => 0}};
        {error, Reason} ->
            {stop, {listen, Host, Port, Reason}}
    end.

handle_call(connections, _From, State = #{count := Count}) ->
    {reply, Count, State};
handle_call(acceptors, _From, State = #{acceptors := N}) ->
    {reply, N, State}.

handle_cast({accepted, Pid}, State = #{count := Count}) ->
    monitor(process, Pid),
    {noreply, State#{count := Count + 1}}.

handle_info({'DOWN', _, process, _, _}, State = #{count := Count}) ->
    {noreply, State#{count := Count - 1}};
handle_info({'EXIT', _, Reason}, State) ->
    {stop, Reason, State};
handle_info(_Message, State) ->
    {noreply, State}.

terminate(_Reason, #{socket := Listen}) ->
    gen_tcp:close(Listen).

acceptor(Listener, Listen, MFA = {M, F, A}) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            {ok, Pid} = serve(Socket, M, F, A),
            case gen_tcp:controlling_process(Socket, Pid) of
                ok ->
                    gen_server:cast(Listener, {accepted, Pid}),
                    Pid ! {socket_ready, Socket};
                {error, _} ->
                    exit(Pid, kill)
            end,
            ?MODULE:acceptor(Listener, Listen, MFA);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= econnaborted ->
            timer:sleep(100),
            ?MODULE:acceptor(Listener, Listen, MFA);
        {error, closed} ->
            exit(normal);
        {error, Reason} ->
            exit(Reason)
    end.

%% TLS takes the socket when it is ready.
serve(_Socket, esockd_tls, F, A) -> apply(esockd_tls, F, A);
serve(Socket, M, F, A) -> apply(M, F, [Socket | A]).
